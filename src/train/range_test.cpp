#include "onecycle/range_test.h"

#include <fmt/format.h>

#include <chrono>

#include "onecycle/error.h"
#include "schedule/rounding.h"
#include "train/learner_core.h"
#include "train/restore.h"
#include "train/step_reporter.h"
#include "train/usual_rate.h"

namespace onecycle {

namespace {

// The data order and augmentation of a range test are those of this epoch and the ones after it. No
// training gets there, so the test neither sees nor disturbs what training will see; and it can use
// training's loader with the images that are already decoded.
constexpr std::uint32_t first_epoch = std::uint32_t{1} << 31;

// Reads the curve as it comes. The device knows when it is long enough: no update follows that one.
class CurveReader {
  public:
    CurveReader(LearnerCore& core, RangeTestResult& result, std::int64_t images_per_step)
        : core_(core),
          result_(result),
          reporter_(core, {.activity = StepReport::Activity::find,
                           .steps = result.planned_steps,
                           .images_per_step = images_per_step,
                           .find_steps = result.planned_steps}) {}

    bool on_entry(const RingEntry& entry) {
        if (result_.signal) return false;  // an update launched before the end was known
        result_.lr.push_back(twelve_digits(entry.learning_rate));
        result_.loss.push_back(entry.loss);
        reporter_.on_entry(entry);
        if (core_.ranks()) return core_.stop_signal() == 0;  // a wish: see run_updates()
        result_.signal = core_.stop_signal();
        if (result_.signal) result_.stopped = RangeTestStop::signal;
        return result_.signal == 0;
    }

  private:
    LearnerCore& core_;
    RangeTestResult& result_;
    StepReporter reporter_;
};

}  // namespace

std::string to_string(RangeTestStop stop) {
    switch (stop) {
        case RangeTestStop::end:
            return "end";
        case RangeTestStop::blow_up:
            return "blow-up";
        case RangeTestStop::not_finite:
            return "not finite";
        case RangeTestStop::signal:
            break;
    }
    return "signal";
}

SweepParameter parse_sweep_parameter(const std::string& name) {
    if (name == "weight-decay") return SweepParameter::weight_decay;
    if (name == "momentum") return SweepParameter::momentum;
    if (name != "batch-size")
        throw Error(ErrorKind::usage, "option not usable", "--sweep " + name, "there is no such choice",
                    "use weight-decay, momentum or batch-size, as in weight-decay=0,1e-4,1e-3");
    return SweepParameter::batch_size;
}

std::string to_string(SweepParameter parameter) {
    return parameter == SweepParameter::weight_decay ? "weight-decay"
           : parameter == SweepParameter::momentum   ? "momentum"
                                                     : "batch-size";
}

bool outlasts_training(const LearnerCore& core) {
    return all_epochs(core.options) * core.steps_per_epoch() < FindOptions{}.steps;
}

double end_lr_of(const FindOptions& options, OptimizerKind kind) {
    return options.end_lr.value_or(kind == OptimizerKind::lars ? 1000 : 10);
}

RangeTestResult run_range_test(LearnerCore& core, TrainStep& step, Loader& loader, const FindOptions& options,
                               double momentum) {
    const auto start = std::chrono::steady_clock::now();
    const Schedule schedule = make_range_test_schedule({.start_lr = options.start_lr,
                                                        .end_lr = end_lr_of(options, core.options.optimizer),
                                                        .steps = options.steps,
                                                        .ramp = options.ramp,
                                                        .momentum = momentum});
    const std::int64_t batches = step.programs().front().key.batches_per_update();
    const std::int64_t images_per_step = step.batch() * batches;
    const auto passes_of = [&](std::int64_t steps) {
        return static_cast<double>(steps * images_per_step) / static_cast<double>(core.dataset.train.size());
    };
    RangeTestResult result{.planned_steps = options.steps, .momentum = momentum};
    if (passes_of(options.steps) > 1)
        core.log(LogLevel::info, fmt::format("the range test passes over the {} training images {:.1f} times",
                                             core.dataset.train.size(), passes_of(options.steps)));

    result.digest_before = core.state.digest();
    {
        const Restore restore(core.state, loader);
        clear_moments(core.state);
        begin_updates(core.state, schedule, 0, options.steps, 0, true, first_epoch);
        const std::int64_t first_batch = first_epoch * loader.batches_per_epoch();
        result.signal = core.start_batches(step, loader, first_batch, first_batch + options.steps * batches);
        if (result.signal) result.stopped = RangeTestStop::signal;
        CurveReader reader(core, result, images_per_step);
        LoopEnd end;
        if (!result.signal)
            end = run_updates(
                core.state, step, loader, options.steps,
                [&](const RingEntry& entry) { return reader.on_entry(entry); }, core.observer.stop_at_once);
        if (const int signal = core.signal_of(end); signal && !result.signal) {
            result.signal = signal;
            result.stopped = RangeTestStop::signal;
        }
        if (end.stop && result.stopped == RangeTestStop::end)
            result.stopped = end.stop == stop_blow_up ? RangeTestStop::blow_up : RangeTestStop::not_finite;
    }
    result.digest_after = core.state.digest();
    result.passes = passes_of(static_cast<std::int64_t>(result.loss.size()));
    result.analysis = analyse_range_test(
        result.lr, result.loss,
        {.planned_steps = options.steps,
         .usual_lr = usual_max_lr(core.options, core.network, images_per_step, core.class_names.size()),
         .usual_alone = outlasts_training(core)});
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return result;
}

}  // namespace onecycle
