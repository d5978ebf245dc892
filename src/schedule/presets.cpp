#include "schedule/presets.h"

#include <fmt/format.h>

#include "onecycle/error.h"

namespace onecycle {

void ScheduleBuilder::add(double start, double end, Curve curve, double lr_start, double lr_end,
                          double momentum_start, double momentum_end) {
    if (!(end > start)) return;
    if (schedule_.count == Schedule::capacity)
        throw Error(ErrorKind::usage, "cannot make the schedule", "--policy",
                    fmt::format("it needs more than {} pieces", Schedule::capacity),
                    "use fewer steps or knots, or longer restarts");
    schedule_.segments[schedule_.count++] = {start,          end,          lr_start, lr_end,
                                             momentum_start, momentum_end, curve,    curve};
}

Schedule ScheduleBuilder::finish(double lr, double momentum) {
    if (schedule_.count == 0) add(0, 1, Curve::linear, lr, lr, momentum);
    return schedule_;
}

// Position k/(N-1): the first update stands at the start of the first segment, the last at the end
// of the second. A single update uses the first rate.
Schedule one_cycle(const OneCycleNumbers& n) {
    const double last = static_cast<double>(n.steps - 1);
    const double peak = n.pct_start * last;
    ScheduleBuilder builder(n.steps);
    builder.add(0, peak, n.curve, n.initial, n.max, n.momentum.high, n.momentum.low);
    builder.add(peak, last, n.curve, n.max, n.floor, n.momentum.low, n.momentum.high);
    return n.pct_start > 0 ? builder.finish(n.initial, n.momentum.high)
                           : builder.finish(n.max, n.momentum.low);
}

// fastai 2, callback/schedule.py, combined_cos at pct_train = k/N: the end is never reached.
Schedule one_cycle_fastai(const OneCycleNumbers& n) {
    const double end = static_cast<double>(n.steps);
    const double peak = n.pct_start * end;
    ScheduleBuilder builder(n.steps);
    builder.add(0, peak, n.curve, n.initial, n.max, n.momentum.high, n.momentum.low);
    builder.add(peak, end, n.curve, n.max, n.floor, n.momentum.low, n.momentum.high);
    return builder.finish(n.max, n.momentum.low);
}

// torch/optim/lr_scheduler.py, OneCycleLR: phases end at pct N - 1 (and 2 pct N - 2) and N - 1.
// With pct N = 1 PyTorch divides by zero; here that phase is empty and the first update stands at
// the peak.
Schedule one_cycle_pytorch(const OneCycleNumbers& n, bool three_phase) {
    const double total = static_cast<double>(n.steps);
    const double peak = n.pct_start * total - 1;
    const double last = total - 1;
    ScheduleBuilder builder(n.steps);
    builder.add(0, peak, n.curve, n.initial, n.max, n.momentum.high, n.momentum.low);
    if (three_phase) {
        const double back = 2 * n.pct_start * total - 2;
        builder.add(peak, back, n.curve, n.max, n.initial, n.momentum.low, n.momentum.high);
        builder.add(back, last, n.curve, n.initial, n.floor, n.momentum.high);
    } else {
        builder.add(peak, last, n.curve, n.max, n.floor, n.momentum.low, n.momentum.high);
    }
    return builder.finish(n.initial, n.momentum.high);
}

// What the logs of lnsmith54/hyperParam1 show: up in pct N iterations, down to zero in as many,
// then held at a thousandth of the base rate. (The papers' prose says less.)
Schedule one_cycle_smith(const OneCycleNumbers& n) {
    const double end = static_cast<double>(n.steps);
    const double half = n.pct_start * end;
    ScheduleBuilder builder(n.steps);
    builder.add(0, half, n.curve, n.initial, n.max, n.momentum.high, n.momentum.low);
    builder.add(half, 2 * half, n.curve, n.max, 0, n.momentum.low, n.momentum.high);
    builder.add(2 * half, end, n.curve, n.floor, n.floor, n.momentum.high);
    return builder.finish(n.floor, n.momentum.high);
}

Schedule flat_cos(std::int64_t steps, double max, double floor, double pct_start, double momentum) {
    const double end = static_cast<double>(steps);
    ScheduleBuilder builder(steps);
    builder.add(0, pct_start * end, Curve::linear, max, max, momentum);
    builder.add(pct_start * end, end, Curve::cosine, max, floor, momentum);
    return builder.finish(max, momentum);
}

Schedule step_decay(std::int64_t steps, double max, const std::vector<double>& at, double factor,
                    double momentum) {
    const double end = static_cast<double>(steps);
    ScheduleBuilder builder(steps);
    double start = 0, lr = max;
    for (const double next : at) {
        if (next >= end) break;
        builder.add(start, next, Curve::linear, lr, lr, momentum);
        start = next;
        lr *= factor;
    }
    builder.add(start, end, Curve::linear, lr, lr, momentum);
    return builder.finish(max, momentum);
}

Schedule restarts(std::int64_t steps, double max, double length, double mult, double momentum) {
    ScheduleBuilder builder(steps);
    for (double start = 0; start < static_cast<double>(steps); start += length, length *= mult)
        builder.add(start, start + length, Curve::cosine, max, 0, momentum);
    return builder.finish(max, momentum);
}

// Before the first knot and behind the last one the value is held, as interpolate() does by itself.
Schedule knots(std::int64_t steps, double max, const std::vector<std::pair<double, double>>& points,
               double momentum) {
    ScheduleBuilder builder(steps);
    for (auto from = points.begin(), to = std::next(from); to != points.end(); ++from, ++to)
        builder.add(from->first, to->first, Curve::linear, max * from->second, max * to->second, momentum);
    return builder.finish(max * points.front().second, momentum);
}

}  // namespace onecycle
