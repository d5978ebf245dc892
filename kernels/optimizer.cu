#include "kernels/optimizer.h"

#include <cmath>

#include "kernels/schedule.h"
#include "rules/optimizer_rules.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = optimizer_piece / 4, blocks_per_multiprocessor = 4;

// update_element for every element of every trained parameter. Bytes moved an element: gradient 4
// (16-bit: 2), weight and moment 8 each, Adam's second moment 8, 16-bit copy 2: SGD 20, Adam 28,
// with and without halves; a moving average 8 more, its 16-bit copy 2. It is updated here, where
// the new weight is at hand: a pass of its own would read that again. As many blocks as fit at
// once: each evaluates the schedule and the parameters' scalars once (into shared memory, in
// double) and then goes on to streams of 16 bytes a thread.
template <UpdateRule rule, typename Half>
__global__ void __launch_bounds__(threads, blocks_per_multiprocessor)
    update_parameters_kernel(float* __restrict__ parameters,           // [flat]
                             float* __restrict__ moment1,              // [flat]
                             float* __restrict__ moment2,              // [flat], Adam and LAMB only
                             Half* __restrict__ half_parameters,       // [flat]
                             float* __restrict__ ema,                  // [flat], or null
                             Half* __restrict__ half_ema,              // [flat]
                             const float* __restrict__ gradients,      // [flat]
                             const Half* __restrict__ half_gradients,  // [flat]
                             const GradientCheck* __restrict__ check, const StepControl* __restrict__ control,
                             const float* __restrict__ ratios,  // [parameters], LARS and LAMB only
                             OptimizerOptions options, const __grid_constant__ FlatTable table) {
    if (!check->apply) return;
    ONECYCLE_SHARED(UpdateScalars, shared_scalars, 1);
    ONECYCLE_SHARED(double, correction, 1);
    ONECYCLE_SHARED(ParameterScalars, segment_scalars, FlatTable::capacity);
    const ScheduleValue now = block_schedule(*control);
    if (threadIdx.x == 0) {
        double correction1 = 1, correction2 = 1;
        if constexpr (has_second_moment(rule)) {
            const double t = static_cast<double>(stage_step(*control) + 1);
            correction1 = bias_correction_apart(now.momentum, t);
            correction2 = bias_correction_apart(options.beta2, t);
        }
        correction[0] = correction1;
        shared_scalars[0] = update_scalars(options, now, check->scale, correction1, correction2);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < table.segments; i += threads)
        segment_scalars[i] = parameter_scalars(options, now, correction[0], table.segment[i].lr_multiplier,
                                               table.segment[i].decay_multiplier,
                                               ratios ? ratios[table.segment[i].parameter] : 1.0f);
    __syncthreads();
    const UpdateScalars s = shared_scalars[0];

    int at = 0, next = 0;  // the segment of the piece, and the first piece of the one after it
    for (int piece = static_cast<int>(blockIdx.x); piece < table.pieces;
         piece += static_cast<int>(gridDim.x)) {
        if (piece >= next) {
            at = segment_of(table, piece);
            next = at + 1 < table.segments ? table.segment[at + 1].first_piece : table.pieces;
        }
        const FlatSegment& segment = table.segment[at];
        const ParameterScalars p = segment_scalars[at];
        const FlatQuad quad = quad_at(segment, piece, optimizer_piece, 4 * static_cast<int>(threadIdx.x));
        if (quad.valid <= 0) continue;
        const Quad<float> g = load_gradient(segment, gradients, half_gradients, quad.at);
        Quad<float> w = load_quad(parameters + quad.at), m = load_quad(moment1 + quad.at), v{};
        if constexpr (has_second_moment(rule)) v = load_quad(moment2 + quad.at);
#pragma unroll
        for (int k = 0; k < 4; ++k) update_element<rule>(s, p, g.v[k], w.v[k], m.v[k], v.v[k]);
        store_quad(parameters + quad.at, w, quad.valid);
        store_quad(moment1 + quad.at, m, quad.valid);
        if constexpr (has_second_moment(rule)) store_quad(moment2 + quad.at, v, quad.valid);
        Quad<float> a{};
        if (ema) {
            a = load_quad(ema + quad.at);
#pragma unroll
            for (int k = 0; k < 4; ++k) a.v[k] = moved_ema(a.v[k], w.v[k], s.ema_rest);
            store_quad(ema + quad.at, a, quad.valid);
        }
        if (!segment.half) continue;
        Quad<Half> copy;
#pragma unroll
        for (int k = 0; k < 4; ++k) copy.v[k] = from_float<Half>(w.v[k]);
        store_quad(half_parameters + quad.at, copy, quad.valid);
        if (!ema) continue;
#pragma unroll
        for (int k = 0; k < 4; ++k) copy.v[k] = from_float<Half>(a.v[k]);
        store_quad(half_ema + quad.at, copy, quad.valid);
    }
}

template <typename Half>
auto* kernel_of(UpdateRule rule) {
    switch (rule) {
        case UpdateRule::nesterov:
            return update_parameters_kernel<UpdateRule::nesterov, Half>;
        case UpdateRule::adam:
            return update_parameters_kernel<UpdateRule::adam, Half>;
        case UpdateRule::lars:
            return update_parameters_kernel<UpdateRule::lars, Half>;
        case UpdateRule::lamb:
            return update_parameters_kernel<UpdateRule::lamb, Half>;
        default:
            return update_parameters_kernel<UpdateRule::sgd, Half>;
    }
}

}  // namespace

template <typename Half>
void update_parameters(float* parameters, float* moment1, float* moment2, Half* half_parameters, float* ema,
                       Half* half_ema, const float* gradients, const Half* half_gradients,
                       const GradientCheck* check, const StepControl* control, const float* ratios,
                       const OptimizerOptions& options, const FlatTable& table, int multiprocessors,
                       cudaStream_t stream) {
    if (table.pieces == 0) return;
    auto* const kernel = kernel_of<Half>(update_rule(options));
    const int resident = multiprocessors * blocks_per_multiprocessor;
    launch("update_parameters", kernel,
           {static_cast<unsigned>(table.pieces < resident ? table.pieces : resident), threads}, stream,
           parameters, moment1, moment2, half_parameters, ema, half_ema, gradients, half_gradients, check,
           control, ratios, options, table);
}

#define ONECYCLE_INSTANTIATE(Half)                                                                     \
    template void update_parameters<Half>(                                                             \
        float*, float*, float*, Half*, float*, Half*, const float*, const Half*, const GradientCheck*, \
        const StepControl*, const float*, const OptimizerOptions&, const FlatTable&, int, cudaStream_t);
ONECYCLE_INSTANTIATE(float)
ONECYCLE_INSTANTIATE(bf16)
ONECYCLE_INSTANTIATE(f16)

}  // namespace onecycle::ONECYCLE_CUDA
