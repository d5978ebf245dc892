// The update of the weights: one pass over the flat buffers, with the schedule evaluated inside.
// Formulas and their order of rounding are those of torch.optim.SGD, Adam and AdamW
// (for_each=False); scalars are computed in double, elements in float. For a parameter w with
// gradient g (times the clipping scale):
//   sgd    g += decay w;  m = momentum m + g;  w -= lr m           (nesterov: w -= lr (g + momentum m))
//   adam   g += decay w;  m += (1-beta1)(g - m);  v = beta2 v + (1-beta2) g g
//          w -= lr/(1-beta1^t) m / (sqrt(v)/sqrt(1-beta2^t) + epsilon)
//   adamw  w *= 1 - lr decay first, then as adam without decay
// The momentum buffer starts at zero, so the first step gives m = g as PyTorch's special case does.
#include <cmath>

#include "ops/control.h"
#include "ops/cpu/builders.h"
#include "ops/cpu/flat_buffer.h"
#include "ops/cpu/simd.h"
#include "ops/step_rules.h"

namespace onecycle::cpu {

namespace {

struct SgdScalars {
    float scale, decay, momentum, minus_lr;
};

template <bool nesterov>
ONECYCLE_INLINE void sgd_loop(const SgdScalars& s, const float* gradients, float* w, float* m, Range range) {
    for (std::int64_t i = range.begin; i < range.end; ++i) {
        const float g = gradients[i] * s.scale + s.decay * w[i];
        const float buffer = m[i] * s.momentum + g;
        m[i] = buffer;
        w[i] += s.minus_lr * (nesterov ? g + s.momentum * buffer : buffer);
    }
}

ONECYCLE_CLONES
void sgd(const SgdScalars& s, bool nesterov, const float* gradients, float* w, float* m, Range range) {
    nesterov ? sgd_loop<true>(s, gradients, w, m, range) : sgd_loop<false>(s, gradients, w, m, range);
}

struct AdamScalars {
    float scale, decay;  // decay added to the gradient (Adam)
    float shrink;        // factor for the weights first (AdamW)
    float beta1, one_minus_beta1, beta2, one_minus_beta2;
    float root_correction2, epsilon, minus_step;
};

ONECYCLE_CLONES
void adam(const AdamScalars& s, const float* gradients, float* weights, float* first, float* second,
          Range range) {
    // torch.lerp takes the nearer end for its start.
    const bool from_moment = s.one_minus_beta1 < 0.5f;
    for (std::int64_t i = range.begin; i < range.end; ++i) {
        const float w = weights[i] * s.shrink;
        const float g = gradients[i] * s.scale + s.decay * w;
        const float difference = g - first[i];
        const float m = from_moment ? first[i] + s.one_minus_beta1 * difference : g - difference * s.beta1;
        const float v = second[i] * s.beta2 + s.one_minus_beta2 * (g * g);
        first[i] = m;
        second[i] = v;
        weights[i] = w + s.minus_step * (m / (std::sqrt(v) / s.root_correction2 + s.epsilon));
    }
}

ONECYCLE_CLONES
void average_weights(float rest, const float* weights, float* average, Range range) {
    for (std::int64_t i = range.begin; i < range.end; ++i) average[i] += rest * (weights[i] - average[i]);
}

}  // namespace

BuiltOp make_update_parameters(const OpDesc& desc, const Context& context) {
    const OptimizerOptions& o = desc.optimizer;
    const bool is_sgd = o.kind == OptimizerKind::sgd;
    const bool averaged = o.average_decay > 0;
    const std::size_t moving = is_sgd ? 2 : 3;  // outputs without the average
    require_operands(desc, 3, averaged ? moving + 1 : moving);
    const std::int64_t n = desc.inputs[0].elements();
    for (const TensorDesc& t : desc.outputs) require_plain(desc, t, {n}, "a flat buffer");
    for (const ParameterSegment& s : desc.parameters)
        require(s.offset >= 0 && s.offset + s.elements <= n, desc, "a parameter lies outside its buffer");

    return op_from(
        desc, 0,
        [=, pieces = trained_pieces(desc.parameters), segments = desc.parameters, threads = context.threads](
            void* const* in, void* const* out, void*) {
            const float* gradients = floats(in[0]);
            const GradientCheck& check = *static_cast<const GradientCheck*>(in[1]);
            const StepControl& control = *static_cast<const StepControl*>(in[2]);
            if (!check.apply) return;
            const ScheduleValue now = evaluate(control.schedule, stage_step(control));
            const double t = static_cast<double>(stage_step(control) + 1);
            const double correction1 = 1 - std::pow(now.momentum, t), correction2 = 1 - std::pow(o.beta2, t);
            const auto to_float = [](double x) { return static_cast<float>(x); };
            float *w = floats_out(out[0]), *m = floats_out(out[1]);

            parallel_for(threads, static_cast<std::int64_t>(pieces.size()), [&](std::int64_t i) {
                const FlatPiece& piece = pieces[static_cast<std::size_t>(i)];
                const ParameterSegment& segment = segments[piece.segment];
                const double lr = now.lr * segment.lr_multiplier;
                const double decay = o.weight_decay * static_cast<double>(segment.decay_multiplier);
                const bool decoupled = o.kind == OptimizerKind::adamw;
                if (is_sgd)
                    sgd({to_float(check.scale), to_float(decay), to_float(now.momentum), to_float(-lr)},
                        o.nesterov, gradients, w, m, piece.range);
                else
                    adam({.scale = to_float(check.scale),
                          .decay = decoupled ? 0.0f : to_float(decay),
                          .shrink = decoupled ? to_float(1 - lr * decay) : 1.0f,
                          .beta1 = to_float(now.momentum),
                          .one_minus_beta1 = to_float(1 - now.momentum),
                          .beta2 = to_float(o.beta2),
                          .one_minus_beta2 = to_float(1 - o.beta2),
                          .root_correction2 = to_float(std::sqrt(correction2)),
                          .epsilon = to_float(o.epsilon),
                          .minus_step = to_float(-lr / correction1)},
                         gradients, w, m, floats_out(out[2]), piece.range);
                if (averaged)
                    average_weights(to_float(1 - o.average_decay), w, floats_out(out[moving]), piece.range);
            });
        });
}

}  // namespace onecycle::cpu
