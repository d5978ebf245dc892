// What several ranks add up: gradients, in the order of their numbers, the results of their batches,
// and the batch norms' statistics.
#pragma once

#include "kernels/flat.h"
#include "rules/control.h"
#include "rules/sum_order.h"

namespace onecycle::ONECYCLE_CUDA {

// Elements of a piece of widen_gradients.
inline constexpr int widen_piece = 8192;

// gradients = half_gradients as floats, for the segments of the table.
template <typename Half>
void widen_gradients(float* gradients, const Half* half_gradients, const FlatTable& table,
                     cudaStream_t stream);

// One pass of a sum over micro batches, in the order of rules/sum_order.h. Parts of earlier passes
// (pass.before > 0) are in `sum`; with `total` the present group's alone, the groups before in
// `total`. The two are kept for the next pass, and the whole / pass.count in `mean`; any may be null.
// Without `total` the passes make one group, or each whole groups. With `control` the earlier passes
// are control->micro. n is a multiple of 4.
void sum_in_order(float* sum, float* total, float* mean, const float* parts, std::int64_t n,
                  const SumPass& pass, const StepControl* control, cudaStream_t stream);

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
