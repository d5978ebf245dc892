// The update of the weights: one pass over the flat buffers, with the schedule evaluated inside.
// The formulas are those of optimizer_rules.h.
#include <cmath>

#include "ops/cpu/builders.h"
#include "ops/cpu/flat_buffer.h"
#include "ops/cpu/simd.h"
#include "rules/control.h"
#include "rules/optimizer_rules.h"
#include "rules/step_rules.h"

namespace onecycle::cpu {

namespace {

// The flat buffers, from their first element.
struct UpdateBuffers {
    const float* gradients;
    float *w, *m, *v;  // v: Adam and LAMB only
};

template <UpdateRule rule>
ONECYCLE_INLINE void update_loop(const UpdateScalars s, const ParameterScalars p, const UpdateBuffers b,
                                 Range range) {
    float none = 0;
    for (std::int64_t i = range.begin; i < range.end; ++i)
        update_element<rule>(s, p, b.gradients[i], b.w[i], b.m[i], has_second_moment(rule) ? b.v[i] : none);
}

ONECYCLE_CLONES
void sgd(const UpdateScalars& s, const ParameterScalars& p, const UpdateBuffers& b, Range range) {
    update_loop<UpdateRule::sgd>(s, p, b, range);
}
ONECYCLE_CLONES
void nesterov(const UpdateScalars& s, const ParameterScalars& p, const UpdateBuffers& b, Range range) {
    update_loop<UpdateRule::nesterov>(s, p, b, range);
}
ONECYCLE_CLONES
void adam(const UpdateScalars& s, const ParameterScalars& p, const UpdateBuffers& b, Range range) {
    update_loop<UpdateRule::adam>(s, p, b, range);
}

ONECYCLE_CLONES
void lars(const UpdateScalars& s, const ParameterScalars& p, const UpdateBuffers& b, Range range) {
    update_loop<UpdateRule::lars>(s, p, b, range);
}
ONECYCLE_CLONES
void lamb(const UpdateScalars& s, const ParameterScalars& p, const UpdateBuffers& b, Range range) {
    update_loop<UpdateRule::lamb>(s, p, b, range);
}

auto* loop_of(UpdateRule rule) {
    switch (rule) {
        case UpdateRule::nesterov:
            return nesterov;
        case UpdateRule::adam:
            return adam;
        case UpdateRule::lars:
            return lars;
        case UpdateRule::lamb:
            return lamb;
        default:
            return sgd;
    }
}

ONECYCLE_CLONES
void update_ema(float rest, const float* w, float* ema, Range range) {
    for (std::int64_t i = range.begin; i < range.end; ++i) ema[i] = moved_ema(ema[i], w[i], rest);
}

}  // namespace

BuiltOp make_update_parameters(const OpDesc& desc, const Context& context) {
    const OptimizerOptions& o = desc.optimizer;
    const bool two_moments = has_second_moment(o.kind), adapted = has_trust_ratio(o.kind);
    const bool with_ema = o.ema_decay > 0;
    const std::size_t moving = two_moments ? 3 : 2;  // outputs without the average
    require_operands(desc, adapted ? 4 : 3, with_ema ? moving + 1 : moving);
    if (adapted)
        require_plain(desc, desc.inputs[3], {static_cast<std::int64_t>(desc.parameters.size())}, "ratios");
    const std::int64_t n = desc.inputs[0].elements();
    for (const TensorDesc& t : desc.outputs) require_plain(desc, t, {n}, "a flat buffer");
    for (const ParameterSegment& s : desc.parameters)
        require(s.offset >= 0 && s.offset + s.elements <= n, desc, "a parameter lies outside its buffer");

    auto* const loop = loop_of(update_rule(o));
    return op_from(desc, 0,
                   [=, pieces = trained_pieces(desc.parameters), segments = desc.parameters,
                    threads = context.threads](void* const* in, void* const* out, void*) {
                       const float* gradients = floats(in[0]);
                       const GradientCheck& check = *static_cast<const GradientCheck*>(in[1]);
                       const StepControl& control = *static_cast<const StepControl*>(in[2]);
                       if (!check.apply) return;
                       const ScheduleValue now = evaluate(control.schedule, stage_step(control));
                       const double t = static_cast<double>(stage_step(control) + 1);
                       const double correction1 = two_moments ? bias_correction(now.momentum, t) : 1;
                       const double correction2 = two_moments ? bias_correction(o.beta2, t) : 1;
                       const UpdateScalars scalars =
                           update_scalars(o, now, check.scale, correction1, correction2);
                       const float* const ratios = adapted ? floats(in[3]) : nullptr;
                       const UpdateBuffers buffers{gradients, floats_out(out[0]), floats_out(out[1]),
                                                   two_moments ? floats_out(out[2]) : nullptr};

                       parallel_for(threads, static_cast<std::int64_t>(pieces.size()), [&](std::int64_t i) {
                           const FlatPiece& piece = pieces[static_cast<std::size_t>(i)];
                           const ParameterSegment& segment = segments[piece.segment];
                           const ParameterScalars of_parameter = parameter_scalars(
                               o, now, correction1, segment.lr_multiplier, segment.decay_multiplier,
                               ratios ? ratios[piece.segment] : 1);
                           loop(scalars, of_parameter, buffers, piece.range);
                           if (with_ema)
                               update_ema(scalars.ema_rest, buffers.w, floats_out(out[moving]), piece.range);
                       });
                   });
}

}  // namespace onecycle::cpu
