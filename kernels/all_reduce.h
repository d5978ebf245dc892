// What several ranks add up: gradients, in the order of ranks, the results of their batches, and the
// batch norms' statistics.
#pragma once

#include "kernels/flat.h"
#include "rules/control.h"

namespace onecycle::ONECYCLE_CUDA {

// Elements of a piece of widen_gradients.
inline constexpr int widen_piece = 8192;

// gradients = half_gradients as floats, for the segments of the table.
template <typename Half>
void widen_gradients(float* gradients, const Half* half_gradients, const FlatTable& table,
                     cudaStream_t stream);

// total = parts[0] + parts[1] + ...; unless `first`, sum + parts[0] + .... Stored in `sum` unless
// that is null, and total / count in `mean` unless that is null. n is a multiple of 4.
void sum_in_order(float* sum, float* mean, const float* parts, int ranks, std::int64_t n, bool first,
                  float count, cudaStream_t stream);

// results[rank] = *result, with the stop that the host wants now.
void note_result(BatchResult* results, const BatchResult* result, const StepProgress* progress, int rank,
                 cudaStream_t stream);

// to [2,channels] = a, b
void put_pair(float* to, const float* a, const float* b, std::int64_t channels, cudaStream_t stream);
// Of `parts` [ranks,2,channels]: combined_statistics of norm_rules.h.
void combine_statistics(float* mean, float* variance, const float* parts, int ranks, std::int64_t channels,
                        cudaStream_t stream);
// The same with average_of_ranks.
void average_pairs(float* a, float* b, const float* parts, int ranks, std::int64_t channels,
                   cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
