#include "kernels/gradients.h"

#include "kernels/ordered_sums.h"
#include "rules/step_rules.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 256, last_threads = 1024;

// f(FlatQuad) for every quad of a piece that has elements, each by one thread of the block.
template <typename F>
__device__ __forceinline__ void for_quads(const FlatSegment& segment, int piece, F f) {
#pragma unroll 4
    for (int i = 0; i < gradient_piece; i += 4 * threads) {
        const FlatQuad quad = quad_at(segment, piece, gradient_piece, i + 4 * static_cast<int>(threadIdx.x));
        if (quad.valid > 0) f(quad);
    }
}

// With s = {total, group} in which nothing is, or what earlier passes left:
//   s.add(g[i], before % group == 0); sum[i], total[i] = s; mean[i] = s.value() / count
// Bytes moved an element: the gradient once, sum and total twice (first: once), the mean once. No
// restrict: the mean may replace the gradients.
template <typename Half>
__global__ void __launch_bounds__(threads)
    accumulate_gradients_kernel(float* sum,                  // [flat]
                                float* total,                // [flat], or null
                                float* mean,                 // [flat], or null
                                const float* gradients,      // [flat]
                                const Half* half_gradients,  // [flat]
                                SumPass pass, const StepControl* control,
                                const __grid_constant__ FlatTable table) {
    const int before = control ? control->micro : pass.before;
    const bool begins_group = before % pass.group == 0;
    const int piece = static_cast<int>(blockIdx.x);
    const FlatSegment& segment = table.segment[segment_of(table, piece)];
    for_quads(segment, piece, [&](FlatQuad quad) {
        const Quad<float> gradient = load_gradient(segment, gradients, half_gradients, quad.at);
        OrderedSum sums[4];
        if (before > 0) load_sums(sums, sum + quad.at, total ? total + quad.at : nullptr);
        for (int k = 0; k < 4; ++k) sums[k].add(gradient.v[k], begins_group);
        store_sums(sum + quad.at, total ? total + quad.at : nullptr, sums, quad.valid);
        if (mean) store_quad(mean + quad.at, mean_of(sums, pass.count), quad.valid);
    });
}

// sums[piece] = sum of g[i]^2 over the piece, in double: squares of floats cannot overflow it, so
// that the sum is finite exactly when every element is. Bytes moved: the gradients once.
template <typename Half>
__global__ void __launch_bounds__(threads) squares_kernel(double* __restrict__ sums,            // [pieces]
                                                          const float* __restrict__ gradients,  // [flat]
                                                          const Half* __restrict__ half_gradients,  // [flat]
                                                          const __grid_constant__ FlatTable table) {
    const int piece = static_cast<int>(blockIdx.x);
    const FlatSegment& segment = table.segment[segment_of(table, piece)];
    double sum = 0;
    for_quads(segment, piece, [&](FlatQuad quad) {
        const Quad<float> gradient = load_gradient(segment, gradients, half_gradients, quad.at);
        double squares[4];
        for (int k = 0; k < 4; ++k) {
            const double g = k < quad.valid ? gradient.v[k] : 0.0f;
            squares[k] = g * g;
        }
        sum += (squares[0] + squares[1]) + (squares[2] + squares[3]);
    });
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[piece] = sum;
}

// check = judge_gradients(sum of the pieces, the first parameter with one that is not finite, ...),
// see rules/step_rules.h. One block adds the pieces up in a fixed order; the minimum of integers
// has no order. Bytes moved: 8 a piece.
__global__ void __launch_bounds__(last_threads)
    judge_gradients_kernel(GradientCheck* __restrict__ check, const double* __restrict__ sums,  // [pieces]
                           const BatchResult* __restrict__ results,                             // [ranks]
                           int ranks, bool summed, const StepControl* __restrict__ control, double clip_norm,
                           bool scaled, const __grid_constant__ FlatTable table) {
    constexpr std::int32_t none = 0x7FFFFFFF;
    ONECYCLE_SHARED(std::int32_t, first_bad, 1);
    if (threadIdx.x == 0) first_bad[0] = none;
    __syncthreads();
    double total = 0;
    for (int piece = threadIdx.x; piece < table.pieces; piece += last_threads) {
        total += sums[piece];
        if (!is_finite(sums[piece]))
            atomicMin(&first_bad[0], table.segment[segment_of(table, piece)].parameter);
    }
    total = block_sum(total);  // has barriers: first_bad is complete
    if (threadIdx.x == 0)
        *check = judge_gradients(total, first_bad[0] == none ? -1 : first_bad[0],
                                 loss_of_update(*control, results, ranks, summed), *control, clip_norm,
                                 scaled ? control->loss_scale : 1.0f);
}

LaunchShape block_a_piece(const FlatTable& table) {
    return {static_cast<unsigned>(table.pieces), threads};
}

}  // namespace

template <typename Half>
void accumulate_gradients(float* sum, float* total, float* mean, const float* gradients,
                          const Half* half_gradients, const SumPass& pass, const StepControl* control,
                          const FlatTable& table, cudaStream_t stream) {
    if (table.pieces == 0) return;
    launch("accumulate_gradients", accumulate_gradients_kernel<Half>, block_a_piece(table), stream, sum,
           total, mean, gradients, half_gradients, pass, control, table);
}

template <typename Half>
void check_gradients(GradientCheck* check, double* sums, const float* gradients, const Half* half_gradients,
                     const BatchResult* results, int ranks, bool summed, const StepControl* control,
                     double clip_norm, bool scaled, const FlatTable& table, cudaStream_t stream) {
    if (table.pieces > 0)
        launch("squares", squares_kernel<Half>, block_a_piece(table), stream, sums, gradients, half_gradients,
               table);
    launch("judge_gradients", judge_gradients_kernel, {1, last_threads}, stream, check, sums, results, ranks,
           summed, control, clip_norm, scaled, table);
}

#define ONECYCLE_INSTANTIATE(Half)                                                                       \
    template void accumulate_gradients<Half>(float*, float*, float*, const float*, const Half*,          \
                                             const SumPass&, const StepControl*, const FlatTable&,       \
                                             cudaStream_t);                                              \
    template void check_gradients<Half>(GradientCheck*, double*, const float*, const Half*,              \
                                        const BatchResult*, int, bool, const StepControl*, double, bool, \
                                        const FlatTable&, cudaStream_t);
ONECYCLE_INSTANTIATE(float)
ONECYCLE_INSTANTIATE(bf16)
ONECYCLE_INSTANTIATE(f16)

}  // namespace onecycle::ONECYCLE_CUDA
