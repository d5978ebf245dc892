#include "train/found_rate.h"

#include <fmt/format.h>

#include "train/usual_rate.h"

namespace onecycle {

namespace {

constexpr double most_for_tests = 0.15;  // of a training's updates

RangeTestResult observed_test(LearnerCore& core, const PolicyOptions& policy, std::size_t stage) {
    RangeTestResult test = run_range_test(core, core.step, core.train_loader(), {}, momentum_at_peak(policy));
    test.stage = static_cast<int>(stage);
    if (core.observer.on_range_test) core.observer.on_range_test(test);
    return test;
}

}  // namespace

FoundRate find_max_lr(LearnerCore& core) {
    const std::int64_t steps = all_epochs(core.options) * core.steps_per_epoch();
    // Two tests are worth at most so much of a training.
    if (2 * FindOptions{}.steps > most_for_tests * static_cast<double>(steps)) core.options.retest_lr = false;
    const double usual =
        usual_max_lr(core.options, core.network, core.images_per_step(), core.class_names.size());
    if (outlasts_training(core)) {
        core.log(
            LogLevel::info,
            fmt::format("training with up to {}, what is usual for {} in batches of {}: a range test of {} "
                        "steps would outlast the {} steps of this training",
                        usual, to_string(core.options.optimizer), core.images_per_step(), FindOptions{}.steps,
                        steps));
        return {.lr = usual};
    }
    const RangeTestResult test = observed_test(core, policy_options(core.options), 0);
    if (test.stopped == RangeTestStop::signal) return {.signal = test.signal};
    const double lr = test.analysis.auto_lr.value_or(usual);
    if (core.observer.on_range_test) return {.lr = lr};  // who shows the test says what it ends in
    core.log(LogLevel::info,
             test.analysis.auto_lr
                 ? fmt::format("training with up to {}, found in {} steps", lr, test.loss.size())
                 : fmt::format("training with up to {}, what is usual for {} in batches of {}", lr,
                               to_string(core.options.optimizer), core.images_per_step()));
    return {.lr = lr};
}

FoundRate lowered_rate(LearnerCore& core, std::size_t stage, double lr) {
    const RangeTestResult test =
        observed_test(core, stages_of(core.options, core.network)[stage].policy, stage);
    if (test.stopped == RangeTestStop::signal) return {.signal = test.signal};
    if (!test.analysis.edge || *test.analysis.edge / 10 >= lr) return {.lr = lr};
    const double lower = *test.analysis.edge / 10;
    core.log(LogLevel::info, fmt::format("the rate is lowered from {:.3g} to {:.3g}, a tenth of where the "
                                         "unfrozen network diverges",
                                         lr, lower));
    return {.lr = lower};
}

}  // namespace onecycle
