// A training, from its beginning or from a checkpoint to its end: stages, epochs, evaluations,
// logs, checkpoints.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "onecycle/error.h"
#include "train/advice.h"
#include "train/divergence.h"
#include "train/found_rate.h"
#include "train/learner_core.h"
#include "train/model_info.h"
#include "train/run_record.h"
#include "train/step_reporter.h"
#include "train/training_progress.h"
#include "train/training_time.h"

namespace onecycle {

namespace {

constexpr std::int64_t small_evaluation = 1000;  // images; below, the interval is told

// One call of fit(). What a resume must know of the past is `now_`, the state, and the images that
// failed.
class Fit {
  public:
    Fit(LearnerCore& core, const FitOptions& options)
        : core_(core),
          run_path_(options.run ? options.run->path() : ""),
          record_(core, core.leads() ? options.run : nullptr),
          now_{.max_lr = options.max_lr ? options.max_lr : core.options.max_lr},
          stages_(stages_of(core.options, core.network)),
          schedules_(stages_.size()),
          steps_per_epoch_(core.steps_per_epoch()),
          steps_(all_epochs(core.options) * steps_per_epoch_),
          reporter_(core, {.steps = steps_, .images_per_step = core.images_per_step()}) {
        result_.steps = steps_;
    }

    FitResult run() try {
        if (core_.evaluates()) core_.valid_loader();  // nothing to evaluate on is found out before any work
        resume_or_begin();
        while (now_.epoch < all_epochs(core_.options) && !result_.signal) {
            if (now_.stage + 1 < stages_.size() && now_.epoch == stages_[now_.stage + 1].first_epoch)
                begin_stage(now_.stage + 1);
            if (result_.signal) break;
            use_size();
            if (now_.step < epoch_end()) train();
            if (result_.signal) break;
            if (now_.step == epoch_end()) {
                finish_epoch();
            } else {
                save();
            }
        }
        if (result_.signal && now_.step > 0 && !saved_here()) save();
        return finish();
    } catch (const NotFinite& bad) {
        stop_diverged(bad.update, bad.tensor);
    } catch (const UnusableImage& image) {
        stop_without(image);
    }

  private:
    const Stage& stage() const { return stages_[now_.stage]; }
    std::int64_t epoch_end() const { return (now_.epoch + 1) * steps_per_epoch_; }

    // Whether the present state is saved; all ranks save together.
    bool saved_here() const { return core_.ranks() ? saved_step_ == now_.step : record_.has(now_.step); }

    // --- how it starts ---

    // Rank 0 alone reads the checkpoint; the others get what it read.
    void resume_or_begin() {
        const auto newest = record_.newest(core_.observer.log);
        if (!core_.ranks()) return newest ? resume(*newest) : begin();
        std::string metadata = newest ? to_text(record_.open(*newest).metadata()) : "";
        broadcast(*core_.ranks(), metadata);
        if (metadata.empty()) return begin();
        std::string step = newest ? std::to_string(newest->step) : "";
        broadcast(*core_.ranks(), step);
        if (newest) return resume(*newest);
        take_over(metadata_from(metadata), std::stoll(step));
    }

    void begin() {
        if (core_.observer.resumes)
            throw Error(ErrorKind::io, "cannot resume", run_path_, "its checkpoint has gone just now",
                        "let nothing else work in the folder, and resume it again");
        record_.write_config(now_.max_lr);
        record_.begin_logs(0, 0);
        core_.next_batch = 0;
        enter_stage(0);
        if (!now_.max_lr) {
            const FoundRate found = find_max_lr(core_);
            if ((result_.signal = found.signal) != 0) return;
            now_.max_lr = found.lr;
        }
        record_.write_config(now_.max_lr);
        begin_stage(0);
    }

    // --- stages ---

    std::int64_t stage_start(std::size_t stage) const {
        return stages_[stage].first_epoch * steps_per_epoch_;
    }

    // Of an update that was made, be it in an earlier stage: a checkpoint is written, and looked at,
    // while training goes on.
    ScheduleValue scheduled(std::int64_t update) const {
        std::size_t stage = now_.stage;
        while (stage > 0 && update < stage_start(stage)) --stage;
        return onecycle::evaluate(schedules_[stage], update - stage_start(stage));
    }

    // From the state as it is, with fresh moments.
    void begin_stage(std::size_t stage) {
        enter_stage(stage);
        now_.stage_lr = *now_.max_lr * stages_[stage].rate;
        if (stage > 0 && core_.options.retest_lr) {
            const FoundRate found = lowered_rate(core_, stage, now_.stage_lr);
            // The stage begins when the run is resumed.
            if ((result_.signal = found.signal) != 0) return;
            now_.stage_lr = found.lr;
        }
        clear_moments(core_.state);
        const StepControl before = core_.state.read_control();
        put_schedule();
        if (stage == 0) return;
        set_loss_scale(before.loss_scale, before.good_steps);
        core_.log(LogLevel::info,
                  fmt::format("{} now, the head at up to {:.3g}",
                              stages_[stage].frozen.parts
                                  ? "what --freeze " + core_.options.freeze + " leaves free learns"
                                  : "everything learns",
                              now_.stage_lr));
    }

    void enter_stage(std::size_t stage) {
        now_.stage = stage;
        core_.use(stages_[stage], size_of_epoch(core_.options, now_.epoch));
    }

    // The epoch's, where sizes are progressive.
    void use_size() {
        const int size = size_of_epoch(core_.options, now_.epoch);
        if (size == core_.size()) return;
        core_.use(stage(), size);
        reporter_.pace_changes();
        time_.evaluation = 0;
        core_.log(LogLevel::info, fmt::format("images of {} px now", size));
    }

    // The stage's schedule, from update `now_.step` on.
    void put_schedule() {
        Schedule& schedule = schedules_[now_.stage];
        schedule = make_schedule(stage().policy, {stage().epochs, steps_per_epoch_}, now_.stage_lr);
        const std::int64_t start = stage_start(now_.stage);
        begin_updates(core_.state, schedule, now_.step, start + stage().epochs * steps_per_epoch_, start);
    }

    void set_loss_scale(float scale, std::int32_t good_steps) {
        StepControl control = core_.state.read_control();
        control.loss_scale = scale;
        control.good_steps = good_steps;
        core_.state.write_control(control);
    }

    // On a rank that has no file.
    void take_over(const Metadata& metadata, std::int64_t step) { go_on_from(metadata, step, nullptr, ""); }

    void go_on_from(const Metadata& metadata, std::int64_t step, const SafetensorsFile* file,
                    const std::string& path) {
        now_ = recorded_progress(metadata, step, now_.max_lr, core_);
        check_same_training(metadata, core_, now_.max_lr, run_path_);
        core_.use_plans(text_of(metadata, "convolution_plans"));
        if (file) restore_state(core_, *file);
        if (core_.ranks()) core_.state.broadcast(*core_.ranks());
        enter_stage(now_.stage);
        put_schedule();
        record_.restore_faults(text_of(metadata, "bad_images"), path);
        set_loss_scale(
            static_cast<float>(number_from(metadata, "loss_scale", core_.state.read_control().loss_scale)),
            static_cast<std::int32_t>(
                std::min<std::int64_t>(count_from(metadata, "good_steps", 0), INT32_MAX)));
        saved_step_ = step;
    }

    void resume(const CheckpointFile& checkpoint) {
        const SafetensorsFile file = record_.open(checkpoint);
        go_on_from(file.metadata(), checkpoint.step, &file, checkpoint.path);
        record_.continue_from(checkpoint, file.digest());
        record_.begin_logs(now_.step, now_.epoch);
        TrainingProgress past;
        for (EpochReport& row : record_.epochs()) {
            past.compare_with_best(row, core_.options);
            result_.epochs.push_back(row);
        }
        if (!now_.best) now_.best = past.best;  // a checkpoint of an earlier version has none
        core_.log(LogLevel::info, fmt::format("continuing after step {} of {}", now_.step, steps_));
    }

    // --- updates ---

    // Up to the epoch's end, the next checkpoint or a signal.
    void train() {
        const Stopwatch watch;
        const std::int64_t first_step = now_.step;
        if ((result_.signal = start_batches()) != 0) return;
        std::int64_t target = epoch_end();
        if (const std::int64_t every = core_.options.checkpoint_every)
            target = std::min(target, (now_.step / every + 1) * every);
        const LoopEnd end = run_updates(
            core_.state, core_.step, core_.train_loader(), target,
            [&](const RingEntry& entry) { return on_entry(entry); }, core_.observer.stop_at_once);
        if (!result_.signal) result_.signal = core_.signal_of(end);
        time_.training += watch.seconds();
        time_.images += (now_.step - first_step) * core_.images_per_step();
        if (end.stop == stop_not_finite) stop_diverged(end.update, tensor_name(end.first_bad));
    }

    // Starts the batches of this epoch from where it stands: they follow from the step's number, so
    // that nothing is skipped over and nothing remembered. Not 0: it was stopped by this signal.
    int start_batches() {
        if (loader_epoch_ == now_.epoch) return 0;  // it is on its way through this epoch
        loader_epoch_ = now_.epoch;
        Loader& loader = core_.train_loader();
        core_.next_batch = next_batch();
        return core_.start_batches(
            core_.step, loader, core_.next_batch,
            now_.epoch * loader.batches_per_epoch() + steps_per_epoch_ * batches_per_update(core_.options));
    }

    // Takes the losses of an update that is done. False ends the loop.
    bool on_entry(const RingEntry& entry) {
        record_.add(entry, stage().group_rates);
        now_.step = entry.update + 1;
        now_.loss_sum += entry.loss;
        reporter_.on_entry(entry, [&](StepReport& report, double seconds) { complete(report, seconds); });
        record_.check();
        if (core_.ranks()) return !core_.stop_signal() && !save_asked();  // a wish: see run_updates()
        if (!result_.signal) result_.signal = core_.stop_signal();
        return !result_.signal && !save_asked();
    }

    // What ends the loop early is saved where it ended.
    bool save_asked() const {
        if (!core_.observer.save || !core_.observer.save()) return false;
        core_.log(LogLevel::info, fmt::format("saving update {} of {}, as asked", now_.step, steps_));
        return true;
    }

    void complete(StepReport& report, double seconds) const {
        const double evaluation =
            time_.evaluation > 0 ? time_.evaluation : evaluation_seconds(core_, seconds);
        const double left = epochs_left(core_, now_.epoch);
        report.epoch = now_.epoch;
        report.epochs = all_epochs(core_.options);
        report.seconds_left = seconds * (left * static_cast<double>(steps_per_epoch_) -
                                         static_cast<double>(now_.step - now_.epoch * steps_per_epoch_)) +
                              evaluation * left;
    }

    std::string tensor_name(std::int32_t first_bad) const {
        return first_bad < 0 ? "the loss"
                             : "the gradient of " +
                                   core_.network.parameters()[static_cast<std::size_t>(first_bad)].name;
    }

    [[noreturn]] void stop_diverged(std::int64_t update, const std::string& tensor) {
        try {
            record_.wait();
        } catch (...) {  // the older checkpoint is the one that is kept
        }
        throw diverged(update, tensor, scheduled(update).lr, record_.kept(), *now_.max_lr,
                       !core_.options.max_lr);
    }

    // Saves what was reached. Whoever catches it can go on from there.
    [[noreturn]] void stop_without(const UnusableImage& image) {
        if (core_.ranks()) throw UnusableImage(image);  // the others are in the midst of a step
        if (now_.step > 0 && !record_.has(now_.step)) save();
        record_.wait();
        if (!record_.checkpoint().empty())
            core_.log(LogLevel::warning,
                      fmt::format("stopped after update {} of {}, which is saved", now_.step, steps_));
        throw UnusableImage(image);
    }

    // The number of the training batch that comes next.
    std::int64_t next_batch() const {
        const std::int64_t batches = batches_per_update(core_.options),
                           per_epoch = core_.train_loader().batches_per_epoch();
        return now_.step / steps_per_epoch_ * per_epoch + now_.step % steps_per_epoch_ * batches;
    }

    // --- the end of an epoch ---

    void finish_epoch() {
        const Stopwatch watch;
        Evaluator::Totals totals;
        try {
            if (core_.evaluates()) totals = core_.evaluate();
        } catch (const Interrupted& interrupted) {
            result_.signal = interrupted.signal;  // evaluated when the run is resumed
            return;
        }
        time_.evaluation = watch.seconds();
        EpochReport row{.epoch = now_.epoch,
                        .train_loss = now_.loss_sum / static_cast<double>(steps_per_epoch_),
                        .evaluated = core_.evaluates(),
                        .valid_loss = totals.loss,
                        .accuracy = core_.evaluates() ? totals.accuracy() : 0,
                        .lr = scheduled(now_.step - 1).lr,
                        .images_per_second = time_.images_per_second(),
                        .seconds = time_.training + time_.evaluation};
        if (row.evaluated && totals.n < small_evaluation)
            row.interval = wilson_interval(totals.correct, totals.n);
        now_.compare_with_best(row, core_.options);
        record_.add(row);
        time_.next_epoch();
        now_.loss_sum = 0;
        ++now_.epoch;
        save();
        result_.epochs.push_back(row);
        if (core_.observer.on_epoch) core_.observer.on_epoch(row);
        if (!std::isfinite(row.valid_loss)) stop_at(row);
        warn_of_loss(row);
    }

    void warn_of_loss(const EpochReport& row) {
        if (warned_) return;
        const std::string line = high_loss(row, core_.class_names.size(), *now_.max_lr);
        warned_ = !line.empty();
        if (warned_) core_.log(LogLevel::warning, line);
    }

    // What is there was saved; to train on would only spend time.
    [[noreturn]] void stop_at(const EpochReport& row) {
        record_.wait();
        const std::string& checkpoint = record_.checkpoint();
        throw evaluation_diverged(row, checkpoint.empty() ? "nothing was saved" : checkpoint + " is kept",
                                  *now_.max_lr);
    }

    void save() {
        record_.save(now_, next_batch());
        saved_step_ = now_.step;
    }

    FitResult finish() {
        result_.bad_images =
            static_cast<std::int64_t>(core_.dataset.bad.size() + core_.faults->before(next_batch()).size());
        result_.step = now_.step;
        if (now_.best) result_.best_epoch = now_.best->epoch;
        result_.max_lr = now_.max_lr.value_or(0);
        record_.wait();
        result_.checkpoint = record_.checkpoint();
        result_.digest = record_.digest();
        result_.seconds = since_begin_.seconds();
        time_.next_epoch();
        result_.images_per_second = time_.mean_images_per_second();
        return std::move(result_);
    }

    LearnerCore& core_;
    std::string run_path_;  // empty without a run folder
    RunRecord record_;
    TrainingProgress now_;
    std::vector<Stage> stages_;
    std::vector<Schedule> schedules_;  // of the stages that this process has begun
    std::int64_t steps_per_epoch_, steps_;
    FitResult result_;

    std::int64_t saved_step_ = -1;
    bool warned_ = false;  // of a loss that is far too high
    std::int64_t loader_epoch_ = -1;

    Stopwatch since_begin_;
    StepReporter reporter_;
    TrainingTime time_;
};

}  // namespace

FitResult run_fit(LearnerCore& core, const FitOptions& options) {
    return Fit(core, options).run();
}

}  // namespace onecycle
