#include "kernels/all_reduce.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 256;

// Bytes moved an element: 2 read, 4 written.
template <typename Half>
__global__ void __launch_bounds__(threads)
    widen_gradients_kernel(float* __restrict__ gradients,             // [bucket]
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

// Plain-loop equivalent, for each element i of this rank's share:
//   total = first ? parts[0][i] : sum[i] + parts[0][i]
//   for r = 1 .. ranks-1: total += parts[r][i]
//   sum[i] = total; mean[i] = total / count
// The order of additions is that of one rank which runs the micro batches one after the other, so
// that the bits are, too. Bytes moved an element: 4 a rank, and 4 for each of sum and mean.
__global__ void __launch_bounds__(threads)
    sum_in_order_kernel(float* __restrict__ sum,          // [n], or null
                        float* __restrict__ mean,         // [n], or null
                        const float* __restrict__ parts,  // [ranks,n]
                        int ranks, std::int64_t n, bool first, float count) {
    const std::int64_t at = 4 * (std::int64_t{blockIdx.x} * threads + threadIdx.x);
    if (at >= n) return;
    Quad<float> total = load_quad(parts + at);
    if (!first) {
        const Quad<float> before = load_quad(sum + at);
        for (int k = 0; k < 4; ++k) total.v[k] = before.v[k] + total.v[k];
    }
    for (int r = 1; r < ranks; ++r) {
        const Quad<float> part = load_quad(parts + r * n + at);
        for (int k = 0; k < 4; ++k) total.v[k] += part.v[k];
    }
    if (sum) store_quad(sum + at, total, 4);
    if (!mean) return;
    for (int k = 0; k < 4; ++k) total.v[k] /= count;
    store_quad(mean + at, total, 4);
}

// Bytes: about 60 read, and 4 of them over the bus from the host's memory.
__global__ void note_result_kernel(BatchResult* results, const BatchResult* __restrict__ result,
                                   const StepProgress* progress, int rank) {
    BatchResult noted = *result;
    noted.stop_wanted = *static_cast<const volatile std::int32_t*>(&progress->stop_wanted);
    results[rank] = noted;
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

void sum_in_order(float* sum, float* mean, const float* parts, int ranks, std::int64_t n, bool first,
                  float count, cudaStream_t stream) {
    if (n == 0) return;
    launch("sum_in_order", sum_in_order_kernel, {static_cast<unsigned>(divide_up(n, 4 * threads)), threads},
           stream, sum, mean, parts, ranks, n, first, count);
}

void note_result(BatchResult* results, const BatchResult* result, const StepProgress* progress, int rank,
                 cudaStream_t stream) {
    launch("note_result", note_result_kernel, {1, 1}, stream, results, result, progress, rank);
}

}  // namespace onecycle::ONECYCLE_CUDA
