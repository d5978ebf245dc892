// Gradients between backward and update: their sum over micro batches, their norm, and whether all
// are finite.
#include "ops/cpu/builders.h"
#include "ops/cpu/flat_buffer.h"
#include "ops/cpu/simd.h"
#include "ops/cpu/sum_in_order.h"
#include "rules/control.h"
#include "rules/step_rules.h"

namespace onecycle::cpu {

namespace {

// Squares of floats cannot overflow a double: the sum is finite exactly when every element is.
ONECYCLE_CLONES
double sum_of_squares(const float* x, Range range) {
    double sums[8] = {};
    std::int64_t i = range.begin;
    for (; i + 8 <= range.end; i += 8)
        for (int l = 0; l < 8; ++l) {
            const double v = static_cast<double>(x[i + l]);
            sums[l] += v * v;
        }
    for (; i < range.end; ++i) sums[0] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

}  // namespace

// Micro batch 0 starts the sum; the last one writes the mean back to where the update reads it.
BuiltOp make_accumulate_gradients(const OpDesc& desc, const Context& context) {
    const MicroPass pass = require_accumulation(desc);
    require(!pass.halves, desc, "this back end has no 16-bit gradients");
    return op_from(desc, 0,
                   [pass, n = desc.inputs[0].elements(), threads = context.threads](void* const* in,
                                                                                    void* const* out, void*) {
                       SumPass here = pass.sum;
                       if (pass.crosses) here.before = static_cast<const StepControl*>(in[1])->micro;
                       float* const total = pass.crosses ? floats_out(out[1]) : nullptr;
                       float* const mean = pass.last ? floats_out(out[pass.crosses ? 2 : 1]) : nullptr;
                       parallel_flat(threads, n, [&](Range range) {
                           sum_in_order(floats_out(out[0]), total, mean, floats(in[0]), n, here, range);
                       });
                   });
}

BuiltOp make_check_gradients(const OpDesc& desc, const Context& context) {
    require_operands(desc, 3, 1);
    require(!desc.loss_scale, desc, "this back end has no loss scale");
    const std::vector<FlatPiece> pieces = trained_pieces(desc.parameters);
    for (const ParameterSegment& s : desc.parameters)
        require(s.offset >= 0 && s.offset + s.elements <= desc.inputs[0].elements(), desc,
                "a parameter lies outside the gradients");
    const std::size_t workspace = pieces.size() * sizeof(double);
    const double clip_norm = desc.optimizer.clip_norm;
    return op_from(desc, workspace,
                   [=, threads = context.threads, ranks = desc.ranks, summed = desc.accumulation > 1](
                       void* const* in, void* const* out, void* work) {
                       auto* const sums = static_cast<double*>(work);
                       parallel_for(threads, static_cast<std::int64_t>(pieces.size()), [&](std::int64_t i) {
                           sums[i] = sum_of_squares(floats(in[0]), pieces[static_cast<std::size_t>(i)].range);
                       });
                       double total = 0;
                       std::int32_t first_bad = -1;
                       for (std::size_t i = 0; i < pieces.size(); ++i) {
                           total += sums[i];
                           const auto segment = static_cast<std::int32_t>(pieces[i].segment);
                           if (!is_finite(sums[i]) && (first_bad < 0 || segment < first_bad))
                               first_bad = segment;
                       }
                       const StepControl& control = *static_cast<const StepControl*>(in[2]);
                       const double loss =
                           loss_of_update(control, static_cast<const BatchResult*>(in[1]), ranks, summed);
                       *static_cast<GradientCheck*>(out[0]) =
                           judge_gradients(total, first_bad, loss, control, clip_norm, 1);
                   });
}

}  // namespace onecycle::cpu
