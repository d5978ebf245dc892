// onecycle train: the range test unless a rate is given, then the schedule; or the rest of a
// stopped run.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "cli/image_progress.h"
#include "cli/json.h"
#include "cli/model_options.h"
#include "cli/out_folder.h"
#include "cli/shared_dataset.h"
#include "cli/train.h"
#include "cli/training_options.h"
#include "cli/training_view.h"
#include "core/echoed.h"
#include "core/file.h"
#include "core/shell_quoted.h"
#include "core/signals.h"
#include "device/communicator.h"
#include "onecycle/chart.h"
#include "onecycle/dataset.h"
#include "onecycle/error.h"
#include "onecycle/learner.h"
#include "onecycle/model.h"
#include "onecycle/report.h"
#include "onecycle/run_folder.h"
#include "report/text.h"
#include "train/recorded_images.h"

namespace onecycle::cli {

namespace {

constexpr const char* saving_stop =
    "Stopping, and saving what was reached. Ctrl-C again stops at once, without saving.";

}  // namespace

void TrainingVerb::declare(Arguments& a, const std::vector<std::string>& words) {
    const std::string resumed = value_before_parsing(words, "--resume");
    options_ = !resumed.empty()                                  ? options_of_run(resumed)
               : value_before_parsing(words, "--config").empty() ? defaults()
                                                                 : default_training_options(words);
    if (resumed.empty()) change_defaults(words, options_);
    before_ = options_;
    a.positional("DATA", options_.data, "the folder of images, or shards of them (.tar)");
    declare_training_options(a, options_);
    declare_own(a);
    declare_out_options(a, out_);
    a.text("--resume", "RUN", resume_, "continue a stopped run at the exact step, with its own options");
    a.whole("--checkpoint-every", options_.checkpoint_every, "updates between checkpoints; 0: one epoch");
    a.value("--save-errors", "WHAT", to_string(options_.save_errors),
            "when a checkpoint cannot be written: go-on trains on and tries again, and only a last one that "
            "fails is an error; stop ends the training",
            [this](const std::string& text) { options_.save_errors = parse_save_errors(text); });
    declare_console_options(a, console_options_, true);
}

namespace {

// A run goes on with another number of ranks where the batches of an update can be spread so.
void spread_over_ranks(TrainOptions& options, const Communicator* job) {
    const int ranks = job ? job->place().ranks : 1;
    const std::int64_t batches = batches_per_update(options);
    if (batches % ranks != 0)
        throw Error(
            ErrorKind::usage, "cannot resume", fmt::format("{} ranks", ranks),
            fmt::format("an update takes {} batches, which {} ranks cannot share evenly", batches, ranks),
            fmt::format("use a number of ranks that divides {}", batches));
    if (options.sync_batch_norm && ranks != options.ranks)
        throw Error(
            ErrorKind::usage, "cannot resume", fmt::format("{} ranks", ranks),
            fmt::format("with --sync-batch-norm a batch norm sees the batches of {} ranks", options.ranks),
            fmt::format("use as many ranks as before: {}", options.ranks));
    options.accumulate = static_cast<int>(batches / ranks);
    options.ranks = ranks;
    options.shares = std::max(options.shares, 1);  // a run that was not spread stays so
}

}  // namespace

int TrainingVerb::run(const Arguments& arguments, Console& console) {
    require_data(options_.data, name_);
    merge_sizes(arguments, options_);
    if (resume_.empty()) {
        prepare(arguments, console, options_);
        options_ = resolved(options_);
        if (console.leads()) check_out(out_);
        // Before memory is taken for a training.
        if (options_.init != "random") options_.init = newest_run(options_.init, console);
        if (options_.init != "random") check_model(options_.init, options_.init_ema);
    } else {
        check_resume(arguments);
        spread_over_ranks(options_, console.ranks().get());
    }
    SignalGuard guard;
    guard.answer(console.stop_answer(nothing_begun));
    Dataset dataset;
    try {
        dataset = shared_dataset(console, [&] { return open(console); });
    } catch (const Error& error) {
        if (is_finished(console, error)) return 0;
        throw;
    }
    TrainingView view(console);
    Observer observer = view.observer();
    observer.resumes = has_checkpoint(dataset, console);
    Learner learner(dataset, options_, observer);
    if (resume_.empty() && console.leads()) check_out_space(out_, learner.run_bytes());
    for (const std::string& line : learner.describe()) console.say(line);
    if (resume_.empty()) say_finetune(console, dataset);
    guard.answer(console.stop_answer(saving_stop));
    if (const int signal = stop_signal()) throw Interrupted(signal);
    if (!console.leads()) {
        const FitResult result = learner.fit();
        return result.signal ? 128 + result.signal : 0;
    }
    RunFolder run = resume_.empty()
                        ? make_out(out_, options_.data, "", console.log())
                        : RunFolder::open(resume_, console.log(), belongs_to(options_, digest(dataset)));
    FitResult result;
    try {
        // First of all: from here on the run can be resumed.
        if (resume_.empty()) run.write("config.json", run_config(learner.options(), digest(dataset)));
        write_bad_images(run, dataset.bad, console);
        view.expect_tests(run, context_of(learner, dataset));
        result = fit(learner, run);
    } catch (...) {
        run.remove_unless_begun();
        throw;
    }
    report(console, run, result, learner.options().shares);
    return result.signal ? 128 + result.signal : 0;
}

// Of a run that is finished all is told, also where the folder of its images is gone. A job of several
// ranks ends as one that is not.
bool TrainingVerb::is_finished(Console& console, const Error& no_images) const {
    if (resume_.empty() || console.ranks() || std::filesystem::exists(options_.data)) return false;
    const auto result = finished_result(resume_, options_);
    if (!result) return false;
    RunFolder run = RunFolder::open(resume_, console.log(),
                                    belongs_to(options_, images_of_config(resume_ + "/config.json")));
    console.warn(fmt::format("warning: {}; all {} steps are done without them", no_images.without_fix(),
                             result->steps));
    report(console, run, *result, options_.shares);
    return true;
}

void TrainingVerb::report(Console& console, RunFolder& run, const FitResult& result, int shares) const {
    if (result.step > 0)
        draw(console, run, static_cast<double>(result.steps) / static_cast<double>(all_epochs(options_)));
    say_end(console, run, result);
    if (console.json()) console.result(to_json(result, run.path(), shares));
}

Dataset TrainingVerb::open(Console& console) const {
    if (!resume_.empty())
        return reopen_dataset(resume_, options_, console.log(), stop_signal, look_progress(console));
    DatasetOptions options = dataset_options(options_, console.log(), stop_signal);
    options.progress = look_progress(console);
    return open_dataset(options_.data, options);
}

// Whether the run that is resumed has saved anything, on every rank.
bool TrainingVerb::has_checkpoint(const Dataset& dataset, const Console& console) const {
    const auto saved = [&] {
        return newest_valid_checkpoint(resume_, {}, belongs_to(options_, digest(dataset))).has_value();
    };
    std::string answer = console.leads() && !resume_.empty() && saved() ? "saved" : "";
    if (Communicator* const ranks = console.ranks().get()) broadcast(*ranks, answer);
    return !answer.empty();
}

// A picture that cannot be made takes nothing from the run.
void TrainingVerb::draw(Console& console, RunFolder& run, double steps_per_epoch) try {
    constexpr const char* picture = "training.svg";
    try {
        if (!run.read_only())
            check_output(posix_file_system(), run.file(picture), {.own_mark = chart::svg_mark});
    } catch (const Error& error) {
        throw Error(error.kind(), "cannot draw", run.file(picture), std::string(error.why()), "move it away");
    }
    run.write(picture, training_svg(read_training_curves(run.read("steps.csv"), run.read("metrics.csv"),
                                                         steps_per_epoch)));
} catch (const Error& error) {
    console.warn(std::string("warning: ") + error.what());
}

FitResult TrainingVerb::fit(Learner& learner, RunFolder& run) const try {
    return learner.fit({.run = &run});
} catch (const UnusableImage& image) {
    if (run.remove_unless_begun())
        throw Error(ErrorKind::data, "cannot use image", echoed(image.where()), image.why(),
                    "put it back as it was, or remove it" +
                        (image.option().empty() ? "" : ", or go on without it: " + image.option()));
    const std::string resume = fmt::format("onecycle {} --resume {}", name_, shell_quoted(run.path()));
    throw Error(
        ErrorKind::data, "cannot use image", echoed(image.where()), image.why(),
        fmt::format("put it back as it was and continue with {}", resume) +
            (image.option().empty() ? "" : fmt::format(", or without it: {} {}", resume, image.option())));
}

void TrainingVerb::say_finetune(Console& console, const Dataset& dataset) const {
    constexpr std::size_t few_images = 200;  // of a class
    if (name_ != "train" || options_.init != "random" ||
        dataset.train.size() >= few_images * dataset.classes.size())
        return;
    console.say(fmt::format(
        "Fewer than {} images a class to learn from: `onecycle finetune {} --init FILE` makes more "
        "of so few. FILE holds the weights of a trained network; without --init it says where to get "
        "one.",
        few_images, shell_quoted(options_.data)));
}

void TrainingVerb::check_resume(const Arguments& arguments) {
    for (const char* option : {"--out", "--config", one_cycle_only})
        if (arguments.given(option))
            throw Error(ErrorKind::usage, "cannot resume", option, "the run has its own", "leave it out");
    options_ = resolved(options_);
    const auto changed = changed_options(before_, options_);
    if (!changed.empty())
        throw Error(ErrorKind::usage, "cannot resume", changed.front(),
                    "it differs from the run's and would change the result",
                    "leave it out, or start a new run");
}

void TrainingVerb::say_end(Console& console, const RunFolder& run, const FitResult& result) const {
    if (result.signal) {
        console.warn(fmt::format("Stopped after update {} of {}. Continue with:\n  onecycle {} --resume {}",
                                 result.step, result.steps, name_, shell_quoted(run.path())));
        return;
    }
    for (const EpochReport& best : result.epochs)
        if (result.best_epoch == best.epoch && best.evaluated)
            console.say(
                console.bold(fmt::format("Best: {:.1f} % in epoch {}, with a highest rate of {}.",
                                         100 * best.accuracy, best.epoch, short_number(result.max_lr, 3))));
    console.say(
        fmt::format("Run: {} (training.svg shows it). Use it with:\n  onecycle predict IMAGE --model {}",
                    echoed(run.path()), shell_quoted(run.path())));
}

std::unique_ptr<Verb> make_train() {
    return std::make_unique<TrainingVerb>("train");
}

}  // namespace onecycle::cli
