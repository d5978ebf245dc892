// What a step decides and records, once for all back ends: plain functions on the structs of
// control.h, compiled for host and device.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "rules/control.h"
#include "rules/host_device.h"

namespace onecycle {

ONECYCLE_HD inline bool is_finite(double x) {
    return fabs(x) <= DBL_MAX;
}

// Whether a launch would still count: the run was not stopped and has updates left.
ONECYCLE_HD inline bool has_updates_left(const StepControl& control) {
    return control.stop == 0 && control.update < control.last_update;
}

// The end of check_gradients. `squares` is the sum over all trained elements as they lie in memory,
// first_bad the first parameter with an element that is not finite, or -1. Gradients were computed
// times `loss_scale`. Clipping as torch.nn.utils.clip_grad_norm_: scale = min(1, clip_norm / (norm
// + 1e-6)); clip_norm 0: none.
ONECYCLE_HD inline GradientCheck judge_gradients(double squares, std::int32_t first_bad, double loss,
                                                 const StepControl& control, double clip_norm,
                                                 double loss_scale) {
    GradientCheck check{};
    check.first_bad = is_finite(loss) ? first_bad : -2;
    check.finite = check.first_bad == -1;
    check.norm = sqrt(squares) / loss_scale;
    const double clip = clip_norm > 0 ? clip_norm / (check.norm + 1e-6) : 1.0;
    check.scale = (clip < 1 ? clip : 1.0) / loss_scale;
    check.apply = check.finite && has_updates_left(control);
    return check;
}

// The number of the micro batch that this rank is at, among those of all ranks for an update.
ONECYCLE_HD inline std::int32_t global_micro(const StepControl& control) {
    return control.micro * (1 + control.other_ranks) + control.rank;
}

// The schedule's step that is due, which is also how often the moments have been updated.
ONECYCLE_HD inline std::int64_t stage_step(const StepControl& control) {
    return control.update - control.stage_start;
}

ONECYCLE_HD inline void add_result(ResultSums& sums, const BatchResult& result) {
    sums.loss_sum += result.loss_sum;
    sums.weight += result.weight;
    sums.count += result.count;
    sums.correct += result.correct;
    sums.correct5 += result.correct5;
}

// The mean loss of an update: over the results of all ranks, and with `summed` over its earlier micro
// batches, too. Added in the order of micro batches, whoever ran them.
ONECYCLE_HD inline double loss_of_update(const StepControl& control, const BatchResult* results, int ranks,
                                         bool summed) {
    if (!summed && ranks == 1) return results[0].loss;
    ResultSums sums{};
    if (summed) sums = control.sums;
    for (int r = 0; r < ranks; ++r) add_result(sums, results[r]);
    return sums.loss_sum / sums.weight;
}

// Records the step in the ring and counts it. A loss or gradient that is not finite stops the run
// instead, unless a smaller loss scale may help.
ONECYCLE_HD inline void take_or_refuse(StepControl& control, RingEntry* ring, double loss,
                                       const GradientCheck& check, const ScheduleValue& now, bool summed,
                                       bool scaled) {
    if (!check.apply) {
        if (check.finite || !has_updates_left(control)) return;
        if (scaled && check.first_bad >= 0 && control.loss_scale / 2 >= smallest_loss_scale) {
            control.loss_scale /= 2;
            control.good_steps = 0;
            if (summed) control.sums = {};  // its micro batches come again
            return;
        }
        control.stop = stop_not_finite;
        control.first_bad = check.first_bad;
        return;
    }
    if (summed) control.sums = {};
    if (scaled && ++control.good_steps >= good_steps_to_grow) {
        control.good_steps = 0;
        if (control.loss_scale < largest_loss_scale) control.loss_scale *= 2;
    }
    ring[control.update % ring_size] = {control.update, loss, now.lr, now.momentum, check.norm};
    ++control.update;
    if (control.watch_blow_up && control.blow_up.add(loss)) control.stop = stop_blow_up;
}

// The end of a step: takes or refuses it, and tells the host. `now` is the schedule at
// stage_step(); `results`: of each rank; `summed`: earlier micro batches are in the sums; `scaled`:
// there is a loss scale; `fence()`: what is written before it is seen before what is written after
// it, by the host too.
template <typename Fence>
ONECYCLE_HD inline void commit(StepControl& control, StepProgress& progress, const BatchResult* results,
                               int ranks, const GradientCheck& check, const ScheduleValue& now, bool summed,
                               bool scaled, Fence fence) {
    const bool was_stopped = control.stop != 0;
    take_or_refuse(control, progress.ring, loss_of_update(control, results, ranks, summed), check, now,
                   summed, scaled);
    control.micro = 0;
    ++control.launches;
    std::int64_t wanted = 0;
    for (int r = 0; r < ranks; ++r)
        if (results[r].stop_wanted > wanted) wanted = results[r].stop_wanted;
    if (wanted != 0 && control.stop == 0) {
        control.stop = stop_asked;
        control.asked = static_cast<std::int32_t>(wanted);
    }
    if (control.stop != 0 && !was_stopped) control.stopped_at = control.launches;
    progress.stopped_at = control.stopped_at;
    progress.asked = control.asked;
    progress.stop = control.stop;
    progress.first_bad = control.first_bad;
    fence();
    *static_cast<volatile std::int64_t*>(&progress.update) = control.update;
    fence();
    *static_cast<volatile std::int64_t*>(&progress.launches) = control.launches;
}

}  // namespace onecycle
