#include "kernels/all_reduce.h"

#include "kernels/ordered_sums.h"
#include "rules/norm_rules.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 256;

// Bytes moved an element: 2 read, 4 written.
template <typename Half>
__global__ void __launch_bounds__(threads)
    widen_gradients_kernel(float* __restrict__ gradients,            // [bucket]
                           const Half* __restrict__ half_gradients,  // [bucket]
                           const __grid_constant__ FlatTable table) {
    const int piece = static_cast<int>(blockIdx.x);
    const FlatSegment& segment = table.segment[segment_of(table, piece)];
#pragma unroll 4
    for (int i = 0; i < widen_piece; i += 4 * threads) {
        const FlatQuad quad = quad_at(segment, piece, widen_piece, i + 4 * static_cast<int>(threadIdx.x));
        if (quad.valid > 0)
            store_quad(gradients + quad.at, load_quad_as_floats(half_gradients + quad.at), quad.valid);
    }
}

// Plain-loop equivalent, for each element i of this rank's share, with s = {total, group} in which
// nothing is, or what earlier passes left:
//   for p = 0 .. parts-1: s.add(parts[p][i], (before + p) % group == 0)
//   sum[i], total[i] = s; mean[i] = s.value() / count
// One rank which runs the micro batches one after the other adds in the same order, so that its bits
// are the same. Bytes moved an element: 4 a part, and 4 for each of sum, total and mean.
__global__ void __launch_bounds__(threads)
    sum_in_order_kernel(float* __restrict__ sum,          // [n], or null
                        float* __restrict__ total,        // [n], or null
                        float* __restrict__ mean,         // [n], or null
                        const float* __restrict__ parts,  // [parts,n]
                        std::int64_t n, SumPass pass, const StepControl* __restrict__ control) {
    const std::int64_t at = 4 * (std::int64_t{blockIdx.x} * threads + threadIdx.x);
    if (at >= n) return;
    const int before = control ? control->micro * pass.parts : pass.before;
    OrderedSum sums[4];
    if (before > 0) load_sums(sums, sum + at, total ? total + at : nullptr);
    int place = before % pass.group;  // in its group
    for (int p = 0; p < pass.parts; ++p) {
        const Quad<float> part = load_quad(parts + p * n + at);
        for (int k = 0; k < 4; ++k) sums[k].add(part.v[k], place == 0);
        if (++place == pass.group) place = 0;
    }
    if (sum) store_sums(sum + at, total ? total + at : nullptr, sums, 4);
    if (mean) store_quad(mean + at, mean_of(sums, pass.count), 4);
}

// Bytes: about 60 read, and 4 of them over the bus from the host's memory.
__global__ void note_result_kernel(BatchResult* results, const BatchResult* __restrict__ result,
                                   const StepProgress* progress, int rank) {
    BatchResult noted = *result;
    noted.stop_wanted = *static_cast<const volatile std::int32_t*>(&progress->stop_wanted);
    results[rank] = noted;
}

// Bytes a channel: 8 read, 8 written.
__global__ void __launch_bounds__(threads) put_pair_kernel(float* __restrict__ to,       // [2,channels]
                                                           const float* __restrict__ a,  // [channels]
                                                           const float* __restrict__ b,  // [channels]
                                                           std::int64_t channels) {
    const std::int64_t c = std::int64_t{blockIdx.x} * threads + threadIdx.x;
    if (c >= channels) return;
    to[c] = a[c];
    to[channels + c] = b[c];
}

// Plain-loop equivalent: combined_statistics or average_of_ranks, for each channel. Bytes a channel:
// 8 a rank, and 8 written.
template <bool statistics>
__global__ void __launch_bounds__(threads)
    pairs_of_ranks_kernel(float* __restrict__ a,            // [channels]
                          float* __restrict__ b,            // [channels]
                          const float* __restrict__ parts,  // [ranks,2,channels]
                          int ranks, std::int64_t channels) {
    const std::int64_t c = std::int64_t{blockIdx.x} * threads + threadIdx.x;
    if (c >= channels) return;
    const ChannelPair pair = statistics ? combined_statistics(parts, ranks, channels, c)
                                        : average_of_ranks(parts, ranks, channels, c);
    a[c] = pair.first;
    b[c] = pair.second;
}

LaunchShape channel_grid(std::int64_t channels) {
    return {static_cast<unsigned>(divide_up(channels, threads)), threads};
}

}  // namespace

template <typename Half>
void widen_gradients(float* gradients, const Half* half_gradients, const FlatTable& table,
                     cudaStream_t stream) {
    if (table.pieces == 0) return;
    launch("widen_gradients", widen_gradients_kernel<Half>, {static_cast<unsigned>(table.pieces), threads},
           stream, gradients, half_gradients, table);
}
template void widen_gradients<bf16>(float*, const bf16*, const FlatTable&, cudaStream_t);
template void widen_gradients<f16>(float*, const f16*, const FlatTable&, cudaStream_t);

void sum_in_order(float* sum, float* total, float* mean, const float* parts, std::int64_t n,
                  const SumPass& pass, const StepControl* control, cudaStream_t stream) {
    if (n == 0) return;
    launch("sum_in_order", sum_in_order_kernel, {static_cast<unsigned>(divide_up(n, 4 * threads)), threads},
           stream, sum, total, mean, parts, n, pass, control);
}

void note_result(BatchResult* results, const BatchResult* result, const StepProgress* progress, int rank,
                 cudaStream_t stream) {
    launch("note_result", note_result_kernel, {1, 1}, stream, results, result, progress, rank);
}

void put_pair(float* to, const float* a, const float* b, std::int64_t channels, cudaStream_t stream) {
    launch("put_pair", put_pair_kernel, channel_grid(channels), stream, to, a, b, channels);
}

void combine_statistics(float* mean, float* variance, const float* parts, int ranks, std::int64_t channels,
                        cudaStream_t stream) {
    launch("combine_statistics", pairs_of_ranks_kernel<true>, channel_grid(channels), stream, mean, variance,
           parts, ranks, channels);
}

void average_pairs(float* a, float* b, const float* parts, int ranks, std::int64_t channels,
                   cudaStream_t stream) {
    launch("average_pairs", pairs_of_ranks_kernel<false>, channel_grid(channels), stream, a, b, parts, ranks,
           channels);
}

}  // namespace onecycle::ONECYCLE_CUDA
