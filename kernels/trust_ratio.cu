#include "kernels/trust_ratio.h"

#include "kernels/schedule.h"
#include "rules/optimizer_rules.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 256, blocks_per_multiprocessor = 3;

// squares[piece] = sums of w^2 and of measured_direction()^2 over the piece, in double. A block
// adds its piece up in a fixed order, whatever the number of blocks. Bytes moved an element:
// gradient 4 (16-bit: 2), weight 4, of LAMB the moments 8. LAMB's step is computed and not kept: the
// update computes it again. That moves 4 bytes an element more, and needs no buffer.
template <UpdateRule rule, typename Half>
__global__ void __launch_bounds__(threads, blocks_per_multiprocessor)
    norm_squares_kernel(NormSquares* __restrict__ squares,        // [pieces]
                        const float* __restrict__ parameters,     // [flat]
                        const float* __restrict__ moment1,        // [flat], LAMB only
                        const float* __restrict__ moment2,        // [flat], LAMB only
                        const float* __restrict__ gradients,      // [flat]
                        const Half* __restrict__ half_gradients,  // [flat]
                        const GradientCheck* __restrict__ check, const StepControl* __restrict__ control,
                        OptimizerOptions options, const __grid_constant__ FlatTable table) {
    if (!check->apply) return;
    ONECYCLE_SHARED(UpdateScalars, shared_scalars, 1);
    ScheduleValue now{};
    if constexpr (rule == UpdateRule::lamb) now = block_schedule(*control);
    if (threadIdx.x == 0) {
        double correction1 = 1, correction2 = 1;
        if constexpr (rule == UpdateRule::lamb) {
            const double t = static_cast<double>(stage_step(*control) + 1);
            correction1 = bias_correction_apart(now.momentum, t);
            correction2 = bias_correction_apart(options.beta2, t);
        }
        shared_scalars[0] = update_scalars(options, now, check->scale, correction1, correction2);
    }
    __syncthreads();
    const UpdateScalars s = shared_scalars[0];

    for (int piece = static_cast<int>(blockIdx.x); piece < table.pieces;
         piece += static_cast<int>(gridDim.x)) {
        const FlatSegment& segment = table.segment[segment_of(table, piece)];
        if (!is_adapted(segment.decay_multiplier)) continue;
        const float decay = decay_of(options, segment.decay_multiplier);
        double weights = 0, direction = 0;
#pragma unroll 2
        for (int i = 0; i < trust_ratio_piece; i += 4 * threads) {
            const FlatQuad quad =
                quad_at(segment, piece, trust_ratio_piece, i + 4 * static_cast<int>(threadIdx.x));
            if (quad.valid <= 0) continue;
            const Quad<float> g = load_gradient(segment, gradients, half_gradients, quad.at);
            const Quad<float> w = load_quad(parameters + quad.at);
            Quad<float> m{}, v{};
            if constexpr (rule == UpdateRule::lamb) {
                m = load_quad(moment1 + quad.at);
                v = load_quad(moment2 + quad.at);
            }
            double of_w[4], of_u[4];
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                const bool valid = k < quad.valid;
                const double x = valid ? w.v[k] : 0.0f;
                const double u =
                    valid ? measured_direction<rule>(s, decay, g.v[k], w.v[k], m.v[k], v.v[k]) : 0.0f;
                of_w[k] = x * x;
                of_u[k] = u * u;
            }
            weights += (of_w[0] + of_w[1]) + (of_w[2] + of_w[3]);
            direction += (of_u[0] + of_u[1]) + (of_u[2] + of_u[3]);
        }
        weights = block_sum(weights);
        direction = block_sum(direction);
        if (threadIdx.x == 0) squares[piece] = {weights, direction};
    }
}

// ratios[parameter] = trust_ratio_of(the sums of its pieces), each segment by one block in a fixed
// order. Bytes moved: 16 a piece.
__global__ void __launch_bounds__(threads)
    trust_ratio_kernel(float* __restrict__ ratios,               // [parameters]
                       const NormSquares* __restrict__ squares,  // [pieces]
                       const GradientCheck* __restrict__ check, OptimizerOptions options,
                       const __grid_constant__ FlatTable table) {
    const int at = static_cast<int>(blockIdx.x);
    const FlatSegment& segment = table.segment[at];
    if (!check->apply || !is_adapted(segment.decay_multiplier)) {
        if (threadIdx.x == 0) ratios[segment.parameter] = 1;
        return;
    }
    const int end = at + 1 < table.segments ? table.segment[at + 1].first_piece : table.pieces;
    double weights = 0, direction = 0;
    for (int piece = segment.first_piece + static_cast<int>(threadIdx.x); piece < end; piece += threads) {
        weights += squares[piece].weights;
        direction += squares[piece].direction;
    }
    weights = block_sum(weights);
    direction = block_sum(direction);
    if (threadIdx.x == 0)
        ratios[segment.parameter] = trust_ratio_of(options, segment.decay_multiplier, weights, direction);
}

}  // namespace

template <typename Half>
void trust_ratio(float* ratios, NormSquares* squares, const float* parameters, const float* moment1,
                 const float* moment2, const float* gradients, const Half* half_gradients,
                 const GradientCheck* check, const StepControl* control, const OptimizerOptions& options,
                 const FlatTable& table, int multiprocessors, cudaStream_t stream) {
    if (table.pieces == 0) return;
    auto* const measure = update_rule(options) == UpdateRule::lamb
                              ? norm_squares_kernel<UpdateRule::lamb, Half>
                              : norm_squares_kernel<UpdateRule::lars, Half>;
    const int resident = multiprocessors * blocks_per_multiprocessor;
    launch("norm_squares", measure,
           {static_cast<unsigned>(table.pieces < resident ? table.pieces : resident), threads}, stream,
           squares, parameters, moment1, moment2, gradients, half_gradients, check, control, options, table);
    launch("trust_ratio", trust_ratio_kernel, {static_cast<unsigned>(table.segments), threads}, stream,
           ratios, squares, check, options, table);
}

#define ONECYCLE_INSTANTIATE(Half)                                                                       \
    template void trust_ratio<Half>(float*, NormSquares*, const float*, const float*, const float*,      \
                                    const float*, const Half*, const GradientCheck*, const StepControl*, \
                                    const OptimizerOptions&, const FlatTable&, int, cudaStream_t);
ONECYCLE_INSTANTIATE(float)
ONECYCLE_INSTANTIATE(bf16)
ONECYCLE_INSTANTIATE(f16)

}  // namespace onecycle::ONECYCLE_CUDA
