// A training, from its beginning or from a checkpoint to its end: stages, epochs, evaluations,
// logs, checkpoints.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "onecycle/error.h"
#include "onecycle/run_folder.h"
#include "train/advice.h"
#include "train/checkpoint_writer.h"
#include "train/fault_record.h"
#include "train/learner_core.h"
#include "train/log_rows.h"
#include "train/model_info.h"
#include "train/model_tensors.h"
#include "train/options_record.h"
#include "train/usual_rate.h"

namespace onecycle {

namespace {

constexpr std::int64_t small_evaluation = 1000;  // images; below, the interval is told
constexpr double most_for_tests = 0.15;          // of a training's updates
constexpr double far_above_guessing = 10;        // times the loss of a guess

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

// One call of fit(). Everything that a resume must know of the past is `step_`, `epoch_` and what
// follows.
class Fit {
  public:
    Fit(LearnerCore& core, const FitOptions& options)
        : core_(core),
          run_(options.run),
          max_lr_(options.max_lr ? options.max_lr : core.options.max_lr),
          stages_(stages_of(core.options, core.network)),
          steps_per_epoch_(core.steps_per_epoch()),
          steps_(all_epochs(core.options) * steps_per_epoch_) {
        result_.steps = steps_;
        if (run_) writer_.emplace(core.state, *run_, core.observer.log, core.packed_images);
    }

    FitResult run() try {
        if (core_.evaluates()) core_.valid_loader();  // nothing to evaluate on is found out before any work
        const auto newest = run_ ? newest_valid_checkpoint(run_->path(), core_.observer.log) : std::nullopt;
        if (newest) {
            resume(*newest);
        } else {
            begin();
        }
        while (epoch_ < all_epochs(core_.options) && !result_.signal) {
            if (stage_ + 1 < stages_.size() && epoch_ == stages_[stage_ + 1].first_epoch)
                begin_stage(stage_ + 1);
            if (result_.signal) break;
            use_size();
            if (step_ < epoch_end()) train();
            if (result_.signal) break;
            if (step_ == epoch_end()) {
                finish_epoch();
            } else {
                save();
            }
        }
        if (result_.signal && step_ > 0 && saved_step_ != step_) save();
        return finish();
    } catch (const NotFinite& bad) {
        diverged(bad.step, bad.tensor);
    } catch (const UnusableImage& image) {
        stop_without(image);
    }

  private:
    std::int64_t epoch_end() const { return (epoch_ + 1) * steps_per_epoch_; }

    // --- how it starts ---

    void begin() {
        if (run_) {
            write_config();
            run_->steps_log(steps_header(rate_groups())).keep_below(0);
            run_->metrics_log(metrics_header).keep_below(0);
        }
        core_.next_batch = 0;
        enter_stage(0);
        if (!max_lr_) search_max_lr();
        if (!max_lr_) return;  // stopped by a signal
        if (run_) write_config();
        begin_stage(0);
    }

    // --- stages ---

    std::int64_t stage_start() const { return stages_[stage_].first_epoch * steps_per_epoch_; }
    ScheduleValue scheduled(std::int64_t step) const {
        return onecycle::evaluate(schedule_, step - stage_start());
    }

    // From the state as it is, with fresh moments.
    void begin_stage(std::size_t stage) {
        enter_stage(stage);
        stage_lr_ = *max_lr_ * stages_[stage].rate;
        if (stage > 0 && core_.options.retest_lr) lower_rate();
        if (result_.signal) return;  // the stage begins when the run is resumed
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
                              stage_lr_));
    }

    void enter_stage(std::size_t stage) {
        stage_ = stage;
        core_.use(stages_[stage], size_of_epoch(core_.options, epoch_));
    }

    // The epoch's, where sizes are progressive.
    void use_size() {
        const int size = size_of_epoch(core_.options, epoch_);
        if (size == core_.size()) return;
        core_.use(stages_[stage_], size);
        pace_ = {};
        evaluation_seconds_ = 0;
        core_.log(LogLevel::info, fmt::format("images of {} px now", size));
    }

    // The stage's schedule, from update `step_` on.
    void put_schedule() {
        PolicyOptions policy = stages_[stage_].policy;
        policy.steps_per_epoch = steps_per_epoch_;
        policy.max_lr = stage_lr_;
        schedule_ = make_schedule(policy);
        begin_updates(core_.state, schedule_, step_,
                      stage_start() + stages_[stage_].epochs * steps_per_epoch_, stage_start());
    }

    void set_loss_scale(float scale, std::int32_t good_steps) {
        StepControl control = core_.state.read_control();
        control.loss_scale = scale;
        control.good_steps = good_steps;
        core_.state.write_control(control);
    }

    // A trained head's curve is flat and then rises: there is no descent to find, but an edge to
    // keep away from.
    void lower_rate() {
        const FindOptions options;
        const double momentum = momentum_at_peak(stages_[stage_].policy);
        RangeTestResult test = run_range_test(core_, core_.step, core_.train_loader(), options, momentum);
        test.stage = static_cast<int>(stage_);
        if (core_.observer.on_range_test) core_.observer.on_range_test(test);
        if (test.stopped == RangeTestStop::signal) {
            result_.signal = test.signal;
            return;
        }
        if (!test.analysis.edge || *test.analysis.edge / 10 >= stage_lr_) return;
        core_.log(LogLevel::info,
                  fmt::format("the rate is lowered from {:.3g} to {:.3g}, a tenth of where the "
                              "unfrozen network diverges",
                              stage_lr_, *test.analysis.edge / 10));
        stage_lr_ = *test.analysis.edge / 10;
    }

    // Groups of layers whose rates are told: of a training from someone's weights, and where they
    // differ; else 0.
    int rate_groups() const {
        const bool any = core_.options.init != "random" ||
                         std::any_of(stages_.begin(), stages_.end(),
                                     [](const Stage& s) { return !s.group_rates.empty(); });
        return any ? core_.network.groups() : 0;
    }

    void write_config() {
        TrainOptions options = core_.options;
        options.max_lr = max_lr_;
        run_->write("config.json", to_json(options));
    }

    // The rate of `--max-lr auto`.
    void search_max_lr() {
        // Two tests are worth at most so much of a training.
        if (2 * FindOptions{}.steps > most_for_tests * static_cast<double>(steps_))
            core_.options.retest_lr = false;
        const double usual =
            usual_max_lr(core_.options, core_.network, core_.images_per_step(), core_.class_names.size());
        if (outlasts_training(core_)) {
            max_lr_ = usual;
            core_.log(LogLevel::info,
                      fmt::format(
                          "training with up to {}, what is usual for {} in batches of {}: a range test of {} "
                          "steps would outlast the {} steps of this training",
                          *max_lr_, to_string(core_.options.optimizer), core_.images_per_step(),
                          FindOptions{}.steps, steps_));
            return;
        }
        const double momentum = momentum_at_peak(policy_options(core_.options, 1, steps_per_epoch_));
        const RangeTestResult test = run_range_test(core_, core_.step, core_.train_loader(), {}, momentum);
        if (core_.observer.on_range_test) core_.observer.on_range_test(test);
        if (test.stopped == RangeTestStop::signal) {
            result_.signal = test.signal;
            return;
        }
        max_lr_ = test.analysis.auto_lr.value_or(usual);
        if (core_.observer.on_range_test) return;  // who shows the test says what it ends in
        core_.log(LogLevel::info,
                  test.analysis.auto_lr
                      ? fmt::format("training with up to {}, found in {} steps", *max_lr_, test.loss.size())
                      : fmt::format("training with up to {}, what is usual for {} in batches of {}", *max_lr_,
                                    to_string(core_.options.optimizer), core_.images_per_step()));
    }

    void resume(const CheckpointFile& checkpoint) {
        const SafetensorsFile file(checkpoint.path);
        const auto& metadata = file.metadata();
        const auto text = [&](const char* key) {
            const auto found = metadata.find(key);
            return found == metadata.end() ? std::string() : found->second;
        };
        if (!max_lr_) max_lr_ = max_lr_of_record(text("options"));
        check_same_run(text("options"), text("dataset"));

        core_.use_plans(text("convolution_plans"));
        State& state = core_.state;
        auto weights = read_weights(file, core_.network);
        if (state.has_average()) {
            state.set_weights(weights, true);
            weights = read_weights(file, core_.network, training_prefix);
        }
        state.set_weights(weights);
        state.set_moments(read_tensors(file, state.moments()));
        step_ = saved_step_ = checkpoint.step;
        epoch_ = static_cast<std::int64_t>(number_from(metadata, "epoch", 0));
        loss_sum_ = number_from(metadata, "epoch_loss_sum", 0);
        // At the end of a stage the next one has not begun: run() does that.
        while (stage_ + 1 < stages_.size() && step_ > stages_[stage_ + 1].first_epoch * steps_per_epoch_)
            ++stage_;
        enter_stage(stage_);
        stage_lr_ = number_from(metadata, "stage_lr", *max_lr_ * stages_[stage_].rate);
        put_schedule();
        restore_faults(text("bad_images"), checkpoint.path);
        set_loss_scale(
            static_cast<float>(number_from(metadata, "loss_scale", state.read_control().loss_scale)),
            static_cast<std::int32_t>(number_from(metadata, "good_steps", 0)));
        result_.digest = file.digest();
        result_.checkpoint = checkpoint.path;

        run_->steps_log(steps_header(rate_groups())).keep_below(step_);
        run_->metrics_log(metrics_header).keep_below(epoch_);
        for (EpochReport& row : parse_metrics(run_->read("metrics.csv"))) {
            compare_with_best(row);
            result_.epochs.push_back(row);
        }
        core_.log(LogLevel::info, fmt::format("continuing after step {} of {}", step_, steps_));
    }

    void restore_faults(const std::string& record, const std::string& where) {
        if (!record.empty()) written_faults_ = faults_from_record(record, core_.dataset, where);
        core_.faults->restore(written_faults_);
        if (core_.resident) core_.resident->forget();
        if (written_faults_.empty()) return;
        write_bad_images(written_faults_);
        core_.log(LogLevel::info, fmt::format("images that are left out since they failed in this run: {}",
                                              written_faults_.size()));
    }

    // With those that were bad when the list was made.
    void write_bad_images(const std::vector<ImageFault>& faults) {
        std::vector<BadImage> bad = core_.dataset.bad;
        for (const ImageFault& fault : faults) bad.push_back({fault.path, fault.reason});
        run_->write_bad_images(bad);
    }

    void check_same_run(const std::string& record, const std::string& dataset) const {
        TrainOptions options = core_.options;
        options.max_lr = max_lr_;
        const auto changed = differences_from_record(record, options);
        if (!changed.empty())
            throw Error(ErrorKind::usage, "cannot resume", printable(run_->path()),
                        fmt::format("{} would change the result", fmt::join(changed, ", ")),
                        "leave it as it was, or start a new run");
        if (dataset != core_.dataset_digest)
            throw Error(ErrorKind::data, "cannot resume", printable(core_.options.data),
                        "its images are not those that the run began with",
                        "put them back as they were, or start a new run");
    }

    // --- updates ---

    // Up to the epoch's end, the next checkpoint or a signal.
    void train() {
        const Clock::time_point start = Clock::now();
        const std::int64_t first_step = step_;
        if ((result_.signal = start_batches()) != 0) return;
        std::int64_t target = epoch_end();
        if (const std::int64_t every = core_.options.checkpoint_every)
            target = std::min(target, (step_ / every + 1) * every);
        const LoopEnd end = run_updates(core_.state, core_.step, core_.train_loader(), target,
                                        [&](const RingEntry& entry) { return take(entry); });
        training_seconds_ += seconds_since(start);
        trained_images_ += (step_ - first_step) * core_.images_per_step();
        if (end.stop == stop_not_finite) diverged(end.update, tensor_name(end.first_bad));
    }

    // Batches follow from the step's number: nothing is skipped over, nothing remembered.
    // Not 0: was stopped by this signal.
    int start_batches() {
        if (loader_epoch_ == epoch_) return 0;  // it is on its way through this epoch
        loader_epoch_ = epoch_;
        Loader& loader = core_.train_loader();
        core_.next_batch = next_batch();
        return core_.start_batches(
            core_.step, loader, core_.next_batch,
            epoch_ * loader.batches_per_epoch() + steps_per_epoch_ * core_.options.accumulate);
    }

    bool take(const RingEntry& entry) {
        if (run_)
            run_->steps_log(steps_header(rate_groups()))
                .append(steps_row(entry, rate_groups(), stages_[stage_].group_rates));
        step_ = entry.update + 1;
        loss_sum_ += entry.loss;
        pace_.step_done();
        give_time_estimate(core_, pace_, 0);
        report(entry);
        if (writer_) writer_->check();
        if (!result_.signal) result_.signal = core_.stop_signal();
        return !result_.signal;
    }

    void report(const RingEntry& entry) {
        constexpr double beta = 0.98;
        smoothed_ = beta * smoothed_ + (1 - beta) * entry.loss;
        ++smoothed_count_;
        if (!core_.observer.on_step) return;
        const double seconds = pace_.seconds_per_step();
        const double evaluation =
            evaluation_seconds_ > 0 ? evaluation_seconds_ : evaluation_seconds(core_, seconds);
        const double left = epochs_left(core_, epoch_);
        core_.observer.on_step(
            {.activity = StepReport::Activity::train,
             .step = entry.update,
             .steps = steps_,
             .epoch = epoch_,
             .epochs = all_epochs(core_.options),
             .loss = entry.loss,
             .smoothed_loss = smoothed_ / (1 - std::pow(beta, static_cast<double>(smoothed_count_))),
             .lr = entry.learning_rate,
             .momentum = entry.momentum,
             .images_per_second = seconds > 0 ? static_cast<double>(core_.images_per_step()) / seconds : 0,
             .seconds_left = seconds * (left * static_cast<double>(steps_per_epoch_) -
                                        static_cast<double>(step_ - epoch_ * steps_per_epoch_)) +
                             evaluation * left,
             .size = core_.options.sizes.empty() ? 0 : core_.size()});
    }

    std::string tensor_name(std::int32_t first_bad) const {
        return first_bad < 0 ? "the loss"
                             : "the gradient of " +
                                   core_.network.parameters()[static_cast<std::size_t>(first_bad)].name;
    }

    // What a run that ends here leaves: the writer may have failed, so that only the folder knows.
    std::string kept() const {
        try {
            if (const auto newest = run_ ? newest_valid_checkpoint(run_->path()) : std::nullopt)
                return newest->path + " is kept";
        } catch (const Error&) {  // what cannot be read is not promised
        }
        return "nothing was saved yet";
    }

    [[noreturn]] void diverged(std::int64_t step, const std::string& tensor) {
        const double lr = scheduled(step).lr;
        try {
            if (writer_) wait_for_writer(*writer_);
        } catch (...) {  // the older checkpoint is the one that is kept
        }
        throw Error(ErrorKind::diverged, "training diverged", fmt::format("step {}", step),
                    fmt::format("{} is not finite at the learning rate {:.3g}; {}", tensor, lr, kept()),
                    fmt::format("start a new run with {}a --max-lr well below {:.3g}",
                                core_.options.max_lr ? "--max-lr auto, or " : "", *max_lr_));
    }

    // Saves what was reached. Whoever catches it can go on from there.
    [[noreturn]] void stop_without(const UnusableImage& image) {
        if (writer_ && step_ > 0 && saved_step_ != step_) save();
        if (writer_) wait_for_writer(*writer_);
        if (!result_.checkpoint.empty())
            core_.log(LogLevel::warning,
                      fmt::format("stopped after update {} of {}, which is saved", step_, steps_));
        throw UnusableImage(image);
    }

    // The number of the training batch that comes next.
    std::int64_t next_batch() const {
        const std::int64_t accumulate = core_.options.accumulate,
                           per_epoch = core_.train_loader().batches_per_epoch();
        return step_ / steps_per_epoch_ * per_epoch + step_ % steps_per_epoch_ * accumulate;
    }

    // --- the end of an epoch ---

    void finish_epoch() {
        const Clock::time_point start = Clock::now();
        Evaluator::Totals totals;
        try {
            if (core_.evaluates()) totals = core_.evaluator.totals(core_.valid_loader(), core_.observer.stop);
        } catch (const Interrupted& interrupted) {
            result_.signal = interrupted.signal;  // evaluated when the run is resumed
            return;
        }
        evaluation_seconds_ = seconds_since(start);
        EpochReport row{.epoch = epoch_,
                        .train_loss = loss_sum_ / static_cast<double>(steps_per_epoch_),
                        .evaluated = core_.evaluates(),
                        .valid_loss = totals.loss,
                        .accuracy = core_.evaluates() ? totals.accuracy() : 0,
                        .lr = scheduled(step_ - 1).lr,
                        .images_per_second = training_seconds_ > 0
                                                 ? static_cast<double>(trained_images_) / training_seconds_
                                                 : 0,
                        .seconds = training_seconds_ + evaluation_seconds_};
        if (row.evaluated && totals.n < small_evaluation)
            row.interval = wilson_interval(totals.correct, totals.n);
        compare_with_best(row);
        if (run_) run_->metrics_log(metrics_header).append(metrics_row(row));
        all_images_ += trained_images_;
        all_training_seconds_ += training_seconds_;
        training_seconds_ = loss_sum_ = 0;
        trained_images_ = 0;
        ++epoch_;
        save();
        result_.epochs.push_back(row);
        if (core_.observer.on_epoch) core_.observer.on_epoch(row);
        if (!std::isfinite(row.valid_loss)) stop_at(row);
        warn_of_loss(row);
    }

    // Once. Guessing among k classes has the loss log k.
    void warn_of_loss(const EpochReport& row) {
        const double guess = std::log(std::max<double>(static_cast<double>(core_.class_names.size()), 2));
        const bool of_training = !(row.train_loss <= row.valid_loss);
        const double loss = of_training ? row.train_loss : row.valid_loss;
        if (warned_ || (std::isfinite(loss) && loss <= far_above_guessing * guess)) return;
        warned_ = true;
        core_.log(
            LogLevel::warning,
            fmt::format(
                "epoch {}: the {} loss is {}, guessing has {:.2f}: the rate, up to {:.3g}, is too high; "
                "stop and train anew with --max-lr {:.1g}",
                row.epoch + 1, of_training ? "training" : "evaluation",
                std::isfinite(loss) ? fmt::format("{:.3g}", loss) : "not finite", guess, *max_lr_,
                *max_lr_ / 10));
    }

    // What is there was saved; to train on would only spend time.
    [[noreturn]] void stop_at(const EpochReport& row) {
        if (writer_) wait_for_writer(*writer_);
        throw Error(
            ErrorKind::diverged, "training diverged", fmt::format("epoch {}", row.epoch + 1),
            fmt::format("the evaluation's loss is not finite at the learning rate {:.3g}; {}", row.lr,
                        result_.checkpoint.empty() ? "nothing was saved" : result_.checkpoint + " is kept"),
            fmt::format("train anew with a --max-lr below {:.3g}", *max_lr_));
    }

    // Best is the highest accuracy, then the lower loss, then the later epoch; among those of one
    // size: a model is used at the size that it was last trained for. Without an evaluation it is
    // the last.
    void compare_with_best(EpochReport& row) {
        if (row.evaluated && !std::isfinite(row.valid_loss)) return;
        const auto size_of = [&](const EpochReport& r) { return size_of_epoch(core_.options, r.epoch); };
        row.best = !row.evaluated || !result_.best_epoch || size_of(row) != size_of(best_) ||
                   row.accuracy > best_.accuracy ||
                   (row.accuracy == best_.accuracy && row.valid_loss <= best_.valid_loss);
        if (!row.best) return;
        best_ = row;
        result_.best_epoch = row.epoch;
    }

    // Begins it; training goes on meanwhile.
    void save() {
        if (!writer_) return;
        TrainOptions options = core_.options;
        options.max_lr = max_lr_;
        const std::string record = options_record(options);
        options.size = core_.size();
        auto metadata = model_metadata(options, core_.class_names);
        metadata["options"] = record;
        metadata["dataset"] = core_.dataset_digest;
        metadata["epoch"] = std::to_string(epoch_);
        metadata["epoch_loss_sum"] = to_text(loss_sum_);
        metadata["steps"] = std::to_string(steps_);
        if (const std::string plans = core_.engine.plans->text(); !plans.empty())
            metadata["convolution_plans"] = plans;
        metadata["seed"] = std::to_string(options.seed);
        metadata["max_lr"] = to_text(*max_lr_);
        if (stage_ > 0) metadata["stage_lr"] = to_text(stage_lr_);
        if (core_.dataset.automatic_split) {
            metadata["split_seed"] = std::to_string(options.seed);
            metadata["split_fraction"] = to_text(options.valid_fraction);
        }
        if (const std::vector<ImageFault> faults = core_.faults->before(next_batch()); !faults.empty()) {
            metadata["bad_images"] = fault_record(faults);
            if (faults != written_faults_) write_bad_images(faults);
            written_faults_ = faults;
        }
        const std::int64_t best_step = result_.best_epoch ? (*result_.best_epoch + 1) * steps_per_epoch_ : -1;
        writer_->save({step_, step_ * core_.options.accumulate, best_step, std::move(metadata)});
        saved_step_ = step_;
    }

    // Waits for the last checkpoint.
    void wait_for_writer(CheckpointWriter& writer) {
        writer.finish();
        if (!writer.step()) return;  // none since this fit began
        result_.checkpoint = run_->checkpoint_file(writer.step());
        result_.digest = writer.digest();
    }

    FitResult finish() {
        result_.bad_images =
            static_cast<std::int64_t>(core_.dataset.bad.size() + core_.faults->before(next_batch()).size());
        result_.step = step_;
        result_.max_lr = max_lr_.value_or(0);
        if (writer_) wait_for_writer(*writer_);
        result_.seconds = seconds_since(start_);
        all_images_ += trained_images_;
        all_training_seconds_ += training_seconds_;
        if (all_training_seconds_ > 0)
            result_.images_per_second = static_cast<double>(all_images_) / all_training_seconds_;
        return std::move(result_);
    }

    LearnerCore& core_;
    RunFolder* run_;
    std::optional<double> max_lr_;
    std::vector<Stage> stages_;
    std::size_t stage_ = 0;
    double stage_lr_ = 0;  // the stage's highest
    std::int64_t steps_per_epoch_, steps_;
    Schedule schedule_{};  // the stage's
    FitResult result_;

    std::int64_t step_ = 0;   // updates done
    std::int64_t epoch_ = 0;  // epochs done and evaluated
    double loss_sum_ = 0;     // of this epoch's batch losses
    EpochReport best_;
    bool warned_ = false;                     // of a loss that is far too high
    std::int64_t saved_step_ = -1;            // perhaps on its way
    std::vector<ImageFault> written_faults_;  // in bad-images.txt
    std::optional<CheckpointWriter> writer_;
    std::int64_t loader_epoch_ = -1;

    Clock::time_point start_ = Clock::now();
    Pace pace_;
    double smoothed_ = 0;
    std::int64_t smoothed_count_ = 0;
    double training_seconds_ = 0, evaluation_seconds_ = 0, all_training_seconds_ = 0;
    std::int64_t trained_images_ = 0, all_images_ = 0;
};

}  // namespace

FitResult run_fit(LearnerCore& core, const FitOptions& options) {
    return Fit(core, options).run();
}

}  // namespace onecycle
