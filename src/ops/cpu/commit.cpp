// The end of a step, and sums of results.
#include <algorithm>
#include <cmath>

#include "ops/control.h"
#include "ops/cpu/make.h"

namespace onecycle::cpu {

// Records the step in the ring and counts it; a loss or gradient that is not finite stops the run instead.
MadeOp make_commit_step(const OpDesc& desc, const Context&) {
    require_operands(desc, 2, 1);
    return made_of(desc, 0, [summed = desc.accumulation > 1](void* const* in, void* const* out, void*) {
        const BatchResult& result = *static_cast<const BatchResult*>(in[0]);
        const GradientCheck& check = *static_cast<const GradientCheck*>(in[1]);
        StepControl& control = *static_cast<StepControl*>(out[0]);
        if (!check.apply) {
            if (!check.finite && control.stop == 0 && control.update < control.last_update) {
                control.stop = stop_not_finite;
                control.first_bad = check.first_bad;
            }
            return;
        }
        double loss = result.loss;
        if (summed) {
            loss = (control.loss_sum + result.loss_sum) / (control.weight + result.weight);
            control.loss_sum = control.weight = 0;
            control.count = control.correct = control.correct5 = 0;
        }
        const ScheduleValue now = evaluate(control.schedule, control.update);
        control.ring[control.update % ring_size] = {control.update, loss, now.lr, now.momentum, check.norm};
        ++control.update;
    });
}

MadeOp make_add_metrics(const OpDesc& desc, const Context&) {
    require_operands(desc, 1, 1);
    return made_of(desc, 0, [](void* const* in, void* const* out, void*) {
        const BatchResult& result = *static_cast<const BatchResult*>(in[0]);
        StepControl& control = *static_cast<StepControl*>(out[0]);
        control.loss_sum += result.loss_sum;
        control.weight += result.weight;
        control.count += result.count;
        control.correct += result.correct;
        control.correct5 += result.correct5;
    });
}

}  // namespace onecycle::cpu
