#include "train/step_reporter.h"

#include <cmath>

namespace onecycle {

void StepReporter::on_entry(const RingEntry& entry, const Complete& complete) {
    constexpr double beta = 0.98;
    pace_.step_done();
    give_time_estimate(core_, pace_, plan_.find_steps);
    smoothed_ = beta * smoothed_ + (1 - beta) * entry.loss;
    ++count_;
    if (!core_.observer.on_step) return;
    const double seconds = pace_.seconds_per_step();
    StepReport report{
        .activity = plan_.activity,
        .step = entry.update,
        .steps = plan_.steps,
        .loss = entry.loss,
        .smoothed_loss = smoothed_ / (1 - std::pow(beta, static_cast<double>(count_))),
        .lr = entry.learning_rate,
        .momentum = entry.momentum,
        .images_per_second = seconds > 0 ? static_cast<double>(plan_.images_per_step) / seconds : 0,
        .seconds_left = seconds * static_cast<double>(plan_.steps - entry.update - 1),
        .size = core_.options.sizes.empty() ? 0 : core_.size()};
    if (complete) complete(report, seconds);
    core_.observer.on_step(report);
}

}  // namespace onecycle
