// The end of a step, and sums of results.
#include <atomic>

#include "ops/cpu/builders.h"
#include "rules/control.h"
#include "rules/step_rules.h"

namespace onecycle::cpu {

BuiltOp make_commit_step(const OpDesc& desc, const Context&) {
    require_operands(desc, 2, 2);
    require(!desc.loss_scale, desc, "this back end has no loss scale");
    return op_from(
        desc, 0,
        [summed = desc.accumulation > 1, ranks = desc.ranks](void* const* in, void* const* out, void*) {
            StepControl& control = *static_cast<StepControl*>(out[0]);
            commit(control, *static_cast<StepProgress*>(out[1]), static_cast<const BatchResult*>(in[0]),
                   ranks, *static_cast<const GradientCheck*>(in[1]),
                   evaluate(control.schedule, stage_step(control)), summed, false,
                   [] { std::atomic_thread_fence(std::memory_order_release); });
        });
}

BuiltOp make_add_metrics(const OpDesc& desc, const Context&) {
    require_operands(desc, 1, 1);
    return op_from(
        desc, 0,
        [micro = desc.accumulation > 1, ranks = desc.ranks](void* const* in, void* const* out, void*) {
            StepControl& control = *static_cast<StepControl*>(out[0]);
            const auto* const results = static_cast<const BatchResult*>(in[0]);
            for (int r = 0; r < ranks; ++r) add_result(control.sums, results[r]);
            if (micro) ++control.micro;
        });
}

}  // namespace onecycle::cpu
