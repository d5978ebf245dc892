#include "train/run_record.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/echoed.h"
#include "onecycle/error.h"
#include "store/run_folders.h"
#include "train/fault_record.h"
#include "train/log_rows.h"
#include "train/model_info.h"
#include "train/options_record.h"
#include "train/recorded_images.h"

namespace onecycle {

namespace {

// Groups of layers whose rates are told: of a training from someone's weights, and where they
// differ; else 0.
int told_groups(const LearnerCore& core) {
    const std::vector<Stage> stages = stages_of(core.options, core.network);
    const bool any = core.options.init != "random" ||
                     std::ranges::any_of(stages, [](const Stage& s) { return !s.group_rates.empty(); });
    return any ? core.network.groups() : 0;
}

}  // namespace

std::optional<FitResult> finished_result(const std::string& run, const TrainOptions& options) {
    const CheckpointFilter belongs = belongs_to(options, images_of_config(run + "/config.json"));
    const auto newest = newest_valid_checkpoint(run, {}, belongs);
    if (!newest) return {};
    const SafetensorsFile file(newest->path);
    if (!belongs(file.metadata())) return {};
    FitResult result{.step = newest->step,
                     .steps = count_from(file.metadata(), "steps", -1),
                     .checkpoint = newest->path,
                     .digest = file.digest()};
    if (!result.finished()) return {};
    result.max_lr = max_lr_of_record(text_of(file.metadata(), "options"));
    const auto text_in = [&](const std::string& name) {
        try {
            return read_file(posix_file_system(), run + '/' + name);
        } catch (const Error&) {  // a run goes without it
            return std::string();
        }
    };
    TrainingProgress past;
    for (EpochReport& row : parse_metrics(text_in("metrics.csv"))) {
        past.compare_with_best(row, options);
        result.epochs.push_back(row);
    }
    if (past.best) result.best_epoch = past.best->epoch;
    result.bad_images = std::ranges::count(text_in(bad_images_name), '\n');
    return result;
}

RunRecord::RunRecord(LearnerCore& core, RunFolder* run)
    : core_(core), run_(run), rate_groups_(told_groups(core)) {
    if (run_)
        writer_.emplace(core.state, *run_, core.observer.log, core.packed_images, core.options.save_errors);
}

std::optional<CheckpointFile> RunRecord::newest(const LogSink& log) const {
    if (!run_) return {};
    return RunFolders(RunFolders::file_system_of(*run_))
        .newest_valid_checkpoint(run_->path(), log, belongs_to(core_.options, core_.dataset_digest));
}

SafetensorsFile RunRecord::open(const CheckpointFile& checkpoint) const {
    return SafetensorsFile(checkpoint.path, RunFolders::file_system_of(*run_));
}

void RunRecord::continue_from(const CheckpointFile& checkpoint, const std::string& digest) {
    saved_step_ = checkpoint.step;
    checkpoint_ = checkpoint.path;
    digest_ = digest;
}

void RunRecord::write_config(std::optional<double> max_lr) {
    if (!run_) return;
    TrainOptions options = core_.options;
    options.max_lr = max_lr;
    const auto write = [&] { run_->write("config.json", run_config(options, core_.dataset_digest)); };
    // Without the first one nobody could resume; the next only tells the rate that was found, which
    // the checkpoints hold, too.
    FileStatus status;
    const bool there = RunFolders::file_system_of(*run_).status(run_->file("config.json"), status) == 0;
    there ? write_if_possible(write) : write();
}

void RunRecord::begin_logs(std::int64_t step, std::int64_t epoch) {
    if (!run_ || run_->read_only()) return;
    const auto tell_missing = [&](const char* log, std::int64_t rows, std::int64_t of, const char* unit) {
        if (rows == of) return;
        core_.log(LogLevel::warning,
                  fmt::format("{} lacks the rows of {} of {} {}: the run goes on all the same, as a "
                              "checkpoint needs none of them",
                              echoed(run_->file(log)), of - rows, of, unit));
    };
    begun_ = true;
    tell_missing("steps.csv", run_->steps_log(steps_header(rate_groups_)).keep_below(step), step, "updates");
    tell_missing("metrics.csv", run_->metrics_log(metrics_header).keep_below(epoch), epoch, "epochs");
}

template <class Action>
void RunRecord::write_if_possible(Action action) {
    if (!run_) return;
    try {
        action();
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::io || core_.options.save_errors == SaveErrors::stop) throw;
        if (!told_)
            core_.log(LogLevel::warning,
                      fmt::format("training goes on, and this is tried again: {}", error.what()));
        told_ = true;
    }
}

std::vector<EpochReport> RunRecord::epochs() const {
    if (!run_) return {};
    try {
        return parse_metrics(run_->read("metrics.csv"));
    } catch (const Error&) {  // begin_logs() has said so
        return {};
    }
}

void RunRecord::add(const RingEntry& entry, const std::vector<double>& group_rates) {
    write_if_possible([&] {
        run_->steps_log(steps_header(rate_groups_)).append(steps_row(entry, rate_groups_, group_rates));
    });
}

void RunRecord::add(const EpochReport& row) {
    write_if_possible([&] { run_->metrics_log(metrics_header).append(metrics_row(row)); });
}

void RunRecord::restore_faults(const std::string& record, const std::string& checkpoint) {
    if (!record.empty()) faults_ = faults_from_record(record, core_.dataset, checkpoint);
    core_.faults->restore(faults_);
    if (core_.resident) core_.resident->forget();
    if (faults_.empty() || !run_) return;
    write_bad_images();
    core_.log(LogLevel::info,
              fmt::format("images that are left out since they failed in this run: {}", faults_.size()));
}

// With those that were bad when the list was made.
void RunRecord::write_bad_images() {
    std::vector<BadImage> bad = core_.dataset.bad;
    for (const ImageFault& fault : faults_) bad.push_back({fault.path, fault.reason});
    run_->write_bad_images(bad);
}

void RunRecord::save(const TrainingProgress& progress, std::int64_t next_batch) {
    core_.share_faults(next_batch);
    core_.compare_ranks();
    if (!writer_) return;
    check();
    Metadata metadata = checkpoint_metadata(core_, progress);
    if (const std::vector<ImageFault> faults = core_.faults->before(next_batch); !faults.empty()) {
        metadata["bad_images"] = fault_record(faults);
        const bool fresh = faults != faults_;
        faults_ = faults;
        if (fresh) write_if_possible([&] { write_bad_images(); });
    }
    const std::int64_t best_step = progress.best ? (progress.best->epoch + 1) * core_.steps_per_epoch() : -1;
    writer_->save(
        {progress.step, progress.step * batches_per_update(core_.options), best_step, std::move(metadata)});
    saved_step_ = progress.step;
}

void RunRecord::check() {
    if (!run_) return;
    if (run_->is_gone())
        throw Error(
            ErrorKind::io, "cannot go on", echoed(run_->path()),
            "the run folder was deleted or moved while it was trained in, or another process works in it",
            "continue it where it is now, with --resume, or start a new run");
    writer_->check();
}

void RunRecord::wait() {
    if (!writer_) return;
    if (begun_) {
        write_if_possible([&] { run_->steps_log(steps_header(rate_groups_)).catch_up(); });
        write_if_possible([&] { run_->metrics_log(metrics_header).catch_up(); });
    }
    writer_->finish();
    run_->settle();
    if (!writer_->step()) return;  // none since this fit began
    checkpoint_ = run_->checkpoint_file(writer_->step());
    digest_ = writer_->digest();
}

std::string RunRecord::kept() const {
    try {
        if (const auto file = newest()) return file->path + " is kept";
    } catch (const Error&) {  // what cannot be read is not promised
    }
    return "nothing was saved yet";
}

}  // namespace onecycle
