// What LARS and LAMB multiply each tensor's rate by: two norms a tensor, of its weights and of its
// gradient or step (measured_direction in optimizer_rules.h). Sums have an order that the pieces
// fix, whatever the threads.
#include <array>

#include "ops/cpu/builders.h"
#include "ops/cpu/flat_buffer.h"
#include "ops/cpu/simd.h"
#include "rules/control.h"
#include "rules/optimizer_rules.h"
#include "rules/step_rules.h"

namespace onecycle::cpu {

namespace {

struct Measured {
    const float *gradients, *w, *m, *v;  // m, v: LAMB only
};

struct NormSquares {
    double weights = 0, direction = 0;
};

constexpr int norm_lanes = 8;

double sum_of(const std::array<double, norm_lanes>& sums) {
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

template <UpdateRule rule>
ONECYCLE_INLINE NormSquares measure(const UpdateScalars s, float decay, const Measured b, Range range) {
    std::array<double, norm_lanes> weights{}, direction{};
    const auto add = [&](std::int64_t i, std::size_t lane) {
        const bool lamb = rule == UpdateRule::lamb;
        const double w = static_cast<double>(b.w[i]);
        const double u = static_cast<double>(measured_direction<rule>(
            s, decay, b.gradients[i], b.w[i], lamb ? b.m[i] : 0.0f, lamb ? b.v[i] : 0.0f));
        weights[lane] += w * w;
        direction[lane] += u * u;
    };
    std::int64_t i = range.begin;
    for (; i + norm_lanes <= range.end; i += norm_lanes)
        for (std::size_t l = 0; l < norm_lanes; ++l) add(i + static_cast<std::int64_t>(l), l);
    for (; i < range.end; ++i) add(i, 0);
    return {sum_of(weights), sum_of(direction)};
}

ONECYCLE_CLONES
NormSquares measure_lars(const UpdateScalars& s, float decay, const Measured& b, Range range) {
    return measure<UpdateRule::lars>(s, decay, b, range);
}
ONECYCLE_CLONES
NormSquares measure_lamb(const UpdateScalars& s, float decay, const Measured& b, Range range) {
    return measure<UpdateRule::lamb>(s, decay, b, range);
}

}  // namespace

BuiltOp make_trust_ratio(const OpDesc& desc, const Context& context) {
    const OptimizerOptions& o = desc.optimizer;
    require(has_trust_ratio(o.kind), desc, "this optimizer has no trust ratios");
    const bool lamb = o.kind == OptimizerKind::lamb;
    require_operands(desc, lamb ? 6 : 4, 1);
    const std::int64_t n = desc.inputs[0].elements();
    for (std::size_t i = 3; i < desc.inputs.size(); ++i)
        require_plain(desc, desc.inputs[i], {n}, "a flat buffer");
    require_plain(desc, desc.outputs[0], {static_cast<std::int64_t>(desc.parameters.size())}, "ratios");
    std::vector<FlatPiece> pieces;  // of what has a ratio of its own
    for (const FlatPiece& piece : trained_pieces(desc.parameters)) {
        const ParameterSegment& s = desc.parameters[piece.segment];
        require(s.offset >= 0 && s.offset + s.elements <= n, desc, "a parameter lies outside its buffer");
        if (is_adapted(s.decay_multiplier)) pieces.push_back(piece);
    }
    const std::size_t workspace = pieces.size() * sizeof(NormSquares);
    return op_from(
        desc, workspace,
        [=, segments = desc.parameters, threads = context.threads](void* const* in, void* const* out,
                                                                   void* work) {
            float* const ratios = floats_out(out[0]);
            std::fill_n(ratios, segments.size(), 1.0f);
            const GradientCheck& check = *static_cast<const GradientCheck*>(in[1]);
            const StepControl& control = *static_cast<const StepControl*>(in[2]);
            if (!check.apply) return;
            const ScheduleValue now = evaluate(control.schedule, stage_step(control));
            const double t = static_cast<double>(stage_step(control) + 1);
            const UpdateScalars scalars = update_scalars(
                o, now, check.scale, bias_correction(now.momentum, t), bias_correction(o.beta2, t));
            const Measured buffers{floats(in[0]), floats(in[3]), lamb ? floats(in[4]) : nullptr,
                                   lamb ? floats(in[5]) : nullptr};
            auto* const measure_piece = lamb ? measure_lamb : measure_lars;
            auto* const squares = static_cast<NormSquares*>(work);
            parallel_for(threads, static_cast<std::int64_t>(pieces.size()), [&](std::int64_t i) {
                const FlatPiece& piece = pieces[static_cast<std::size_t>(i)];
                squares[i] = measure_piece(scalars, decay_of(o, segments[piece.segment].decay_multiplier),
                                           buffers, piece.range);
            });
            for (std::size_t i = 0; i < pieces.size();) {
                const std::size_t segment = pieces[i].segment;
                NormSquares sum;
                for (; i < pieces.size() && pieces[i].segment == segment; ++i) {
                    sum.weights += squares[i].weights;
                    sum.direction += squares[i].direction;
                }
                ratios[segment] =
                    trust_ratio_of(o, segments[segment].decay_multiplier, sum.weights, sum.direction);
            }
        });
}

}  // namespace onecycle::cpu
