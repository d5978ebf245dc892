// Short trainings by one cycle from the present state, one a rate. They leave no trace.
#include "onecycle/learner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "onecycle/error.h"
#include "train/advice.h"
#include "train/learner_core.h"
#include "train/restore.h"

namespace onecycle {

namespace {

constexpr std::int64_t usual_epochs = 2, fewest_updates = 50, most_updates = 200;

std::int64_t updates_of(const LearnerCore& core, const TrialOptions& options) {
    if (options.updates < 0)
        throw Error(ErrorKind::usage, "option not usable", fmt::format("--verify-steps {}", options.updates),
                    "a trial needs an update", "give a number above 0, or leave it out");
    if (options.updates > 0) return options.updates;
    return std::clamp(usual_epochs * core.steps_per_epoch(), fewest_updates, most_updates);
}

// The options' own one-cycle where they have one. Other policies take all their epochs to come
// down.
Schedule cycle(const TrainOptions& options, const Network& network, double lr, std::int64_t updates) {
    PolicyOptions policy = stages_of(options, network).front().policy;
    if (!policy.policy.starts_with("onecycle")) policy = {.momentum = policy.momentum};
    return make_schedule(policy, {.epochs = 1, .steps_per_epoch = updates}, lr);
}

RateTrial run_trial(LearnerCore& core, double lr, std::int64_t updates) {
    RateTrial trial{.lr = lr, .updates = updates};
    clear_moments(core.state);
    begin_updates(core.state, cycle(core.options, core.network, lr, updates), 0, updates);
    if (const int signal =
            core.start_batches(core.step, core.train_loader(), 0, updates * batches_per_update(core.options)))
        throw Interrupted(signal);
    const double images = static_cast<double>(core.images_per_step());
    int signal = 0;
    double sum = 0;
    Pace pace;
    const auto take = [&](const RingEntry& entry) {
        pace.step_done();
        sum += entry.loss;
        const double seconds = pace.seconds_per_step();
        if (core.observer.on_step)
            core.observer.on_step(
                {.activity = StepReport::Activity::trial,
                 .step = entry.update,
                 .steps = updates,
                 .loss = entry.loss,
                 .smoothed_loss = sum / static_cast<double>(entry.update + 1),
                 .lr = entry.learning_rate,
                 .momentum = entry.momentum,
                 .images_per_second = seconds > 0 ? images / seconds : 0,
                 .seconds_left = seconds * static_cast<double>(updates - entry.update - 1)});
        if (core.ranks()) return core.stop_signal() == 0;  // a wish: see run_updates()
        signal = core.stop_signal();
        return signal == 0;
    };
    const LoopEnd end =
        run_updates(core.state, core.step, core.train_loader(), updates, take, core.observer.stop_at_once);
    if (const int ended = signal ? signal : core.signal_of(end)) throw Interrupted(ended);
    if (end.stop) return trial;
    const Evaluator::Totals totals = core.evaluate();
    if (!std::isfinite(totals.loss)) return trial;
    trial.valid_loss = totals.loss;
    trial.accuracy = totals.accuracy();
    trial.interval = wilson_interval(totals.correct, totals.n);
    trial.n = totals.n;
    return trial;
}

}  // namespace

std::vector<RateTrial> run_trials(LearnerCore& core, const std::vector<double>& rates,
                                  const TrialOptions& options) {
    const std::int64_t updates = updates_of(core, options);
    core.valid_loader();  // nothing to evaluate on is found out before any work
    std::vector<RateTrial> trials;
    for (const double lr : rates) {
        core.log(LogLevel::info, fmt::format("verifying: one cycle of {} steps up to {}", updates, lr));
        const Restore restore(core.state, core.train_loader());
        trials.push_back(run_trial(core, lr, updates));
    }
    return trials;
}

}  // namespace onecycle
