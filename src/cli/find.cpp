// onecycle find: the learning-rate range test, or the analysis of a saved curve.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "cli/image_progress.h"
#include "cli/model_options.h"
#include "cli/out_folder.h"
#include "cli/shared_dataset.h"
#include "cli/training_options.h"
#include "cli/training_view.h"
#include "cli/verb.h"
#include "core/echoed.h"
#include "core/shell_quoted.h"
#include "core/signals.h"
#include "onecycle/error.h"
#include "onecycle/learner.h"
#include "onecycle/model.h"
#include "onecycle/report.h"
#include "onecycle/run_folder.h"

namespace onecycle::cli {

namespace {

struct Sweep {
    SweepParameter parameter{};
    std::vector<double> values;
};

// "weight-decay=0,1e-4,1e-3"
Sweep parse_sweep(const std::string& text) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos)
        throw Error(ErrorKind::usage, "bad option", "--sweep " + text, "not of the form NAME=VALUE,VALUE",
                    "for example --sweep weight-decay=0,1e-4,1e-3");
    Sweep sweep;
    sweep.parameter = parse_sweep_parameter(text.substr(0, equals));
    for (std::size_t from = equals + 1;;) {
        const std::size_t to = text.find(',', from);
        sweep.values.push_back(parse_number("--sweep", text.substr(from, to - from)));
        if (to == std::string::npos) break;
        from = to + 1;
    }
    return sweep;
}

class Find : public Verb {
  public:
    void declare(Arguments& a, const std::vector<std::string>& words) override {
        options_ = default_training_options(words);
        a.positional("DATA", options_.data, "the folder of images, or shards of them (.tar)");
        a.group("Range test");
        a.number("--start-lr", find_.start_lr, "the first rate");
        a.number("--end-lr", find_.end_lr, "the last rate [10, lars 1000]");
        a.whole("--steps", find_.steps, "updates");
        a.value("--ramp", "NAME", "inclusive",
                "inclusive: the last update uses --end-lr; fastai: one short of it",
                [this](const std::string& text) { find_.ramp = parse_ramp(text); });
        a.value("--sweep", "NAME=V,V", "",
                "repeat the test for each value of weight-decay, momentum or batch-size",
                [this](const std::string& text) { sweep_ = parse_sweep(text); });
        a.flag("--verify", verify_,
               "afterwards train shortly, by one cycle, with a third of the rate, with it and with three "
               "times it; nothing "
               "is kept");
        a.whole("--verify-steps", verify_steps_, "updates of each of them [two epochs, but 50 to 200]");
        a.text("--from-csv", "FILE", from_csv_,
               "analyse a saved curve (columns lr,loss) instead of running a test");
        a.flag("--smoothed", smoothed_, "the losses of --from-csv are already smoothed");
        declare_training_options(a, options_);
        declare_out_options(a, out_);
        declare_console_options(a, console_options_, true);
    }

    bool runs_on_ranks() const override { return true; }
    int run(const Arguments& arguments, Console& console) override {
        merge_sizes(arguments, options_);
        make_range_test_schedule(
            {find_.start_lr, end_lr_of(find_, options_.optimizer), find_.steps, find_.ramp});  // checks them
        check(options_);
        if (!from_csv_.empty()) {
            refuse_beside_curve(arguments.given("DATA"), options_.data);
            refuse_beside_curve(!sweep_.values.empty(), "--sweep");
            refuse_beside_curve(verify_, "--verify");
            return analyse_file(console);
        }
        if (smoothed_)
            throw Error(ErrorKind::usage, "bad option", "--smoothed", "it speaks of the file of --from-csv",
                        "leave it out");
        if (verify_ && !sweep_.values.empty())
            throw Error(ErrorKind::usage, "bad option", "--verify with --sweep", "a sweep has several rates",
                        "leave one of the two out");
        if (verify_steps_ && !verify_)
            throw Error(ErrorKind::usage, "bad option", "--verify-steps",
                        "it speaks of the trainings of --verify", "give --verify too, or leave it out");
        if (verify_steps_ && *verify_steps_ < 1)
            throw Error(ErrorKind::usage, "bad option", fmt::format("--verify-steps {}", *verify_steps_),
                        "it is below 1", "give a whole number of 1 or more");
        require_data(options_.data, "find");
        if (console.leads()) check_out(out_);
        // Before memory is taken for a training.
        if (options_.init != "random") options_.init = newest_run(options_.init, console);
        if (options_.init != "random") check_model(options_.init, options_.init_ema);
        SignalGuard guard;
        guard.answer(console.stop_answer(nothing_begun));
        DatasetOptions opening = dataset_options(options_, console.log(), stop_signal);
        opening.progress = look_progress(console);
        const Dataset dataset = shared_dataset(console, [&] { return open_dataset(options_.data, opening); });
        if (verify_ && dataset.valid.empty())
            throw Error(ErrorKind::usage, "bad option", "--verify with --valid-fraction 0",
                        "nothing is held out to verify on", "leave one of the two out");
        TrainingView view(console);
        Learner learner(dataset, options_, view.observer());
        for (const std::string& line : learner.describe()) console.say(line);
        guard.answer(console.stop_answer(stopping));
        if (!sweep_.values.empty()) return sweep(learner, dataset, console);

        FindContext context = context_of(learner, dataset);
        if (!is_of_training(find_, options_.optimizer)) context.origin = FindContext::Origin::test;
        RangeTestResult test = learner.find(find_);
        if (test.stopped == RangeTestStop::signal) return stopped(console, test.signal);
        say_range_test(console, test.analysis, context);
        if (test.passes > 1)
            console.say(fmt::format(
                "The test passed {:.1f} times over the images: late losses look better than on new ones.",
                test.passes));
        if (test.stopped != RangeTestStop::end)
            console.say(fmt::format("It ended after {} of {} steps: the loss {}.", test.loss.size(),
                                    test.planned_steps,
                                    test.stopped == RangeTestStop::blow_up ? "had risen beyond doubt"
                                                                           : "was no longer a number"));
        std::optional<std::vector<RateTrial>> trials;
        if (verify_) {
            try {
                trials = verify(learner, rate_to_train_with(test.analysis, context), console);
            } catch (const Interrupted& interrupted) {
                return stopped(console, interrupted.signal);
            }
            test.digest_after = learner.state_digest();
        }
        if (!console.leads()) return 0;
        RunFolder folder = make_out(out_, options_.data, "-find", console.log());
        write_all(folder, [&] {
            write_bad_images(folder, dataset.bad, console);
            write_range_test(folder, "", test, context, trials);
        });
        say_written(console, folder, "find");
        if (const auto rate = rate_to_train_with(test.analysis, context))
            console.say(fmt::format("Train with it, other options as here:\n  onecycle train {} --max-lr {}",
                                    shell_quoted(options_.data), *rate));
        if (console.json()) console.result(find_json(test, context, trials));
        return 0;
    }

  private:
    // What would silently do nothing is refused.
    static void refuse_beside_curve(bool given, const std::string& what) {
        if (given)
            throw Error(ErrorKind::usage, "bad option", what, "--from-csv reads a curve and runs no test",
                        "leave one of the two out");
    }

    // The range test that `--max-lr auto` runs.
    static bool is_of_training(const FindOptions& o, OptimizerKind kind) {
        constexpr FindOptions own;
        return o.start_lr == own.start_lr && end_lr_of(o, kind) == end_lr_of(own, kind) &&
               o.steps == own.steps && o.ramp == own.ramp;
    }

    // Short trainings around the rate.
    std::vector<RateTrial> verify(Learner& learner, const std::optional<double>& rate,
                                  Console& console) const {
        if (!rate) {
            console.say("There is no rate to verify.");
            return {};
        }
        const auto trials = learner.try_rates(trial_rates(*rate), {.updates = verify_steps_.value_or(0)});
        std::string table = trial_table(*rate, trials);
        table.pop_back();
        console.say(table);
        return trials;
    }

    int analyse_file(Console& console) {
        if (!out_.empty()) check_out(out_);
        const LossCurve curve = read_curve_csv(from_csv_);
        const FindContext context{.updates = curve.updates};
        const auto analysis = analyse_range_test(curve.lr, curve.loss,
                                                 {.already_smoothed = smoothed_,
                                                  .usual_lr = curve.usual_lr,
                                                  .usual_alone = shorter_than_test(context)});
        say_range_test(console, analysis, context);
        if (!out_.empty()) {
            RunFolder folder = RunFolder::create(out_, console.log());
            write_all(folder, [&] {
                folder.write("find.csv", find_csv(analysis, context));
                folder.write("find.svg", find_svg(analysis, context));
                folder.write("find.json", find_json(analysis, context));
            });
            say_written(console, folder, "find");
        }
        if (console.json()) console.result(find_json(analysis, context));
        return 0;
    }

    int sweep(Learner& learner, const Dataset& dataset, Console& console) {
        const auto results = learner.sweep(sweep_.parameter, sweep_.values, find_);
        for (const SweepResult& result : results)
            if (result.test.stopped == RangeTestStop::signal) return stopped(console, result.test.signal);
        if (!console.leads()) return 0;
        RunFolder folder = make_out(out_, options_.data, "-find", console.log());
        write_all(folder, [&] {
            write_bad_images(folder, dataset.bad, console);
            for (const SweepResult& result : results)
                write_range_test(folder, fmt::format("{}={}/", to_string(sweep_.parameter), result.value),
                                 result.test, context_of_sweep(learner, dataset, result.value));
            folder.write("sweep.svg", sweep_svg(sweep_.parameter, results));
            folder.write("sweep.json", sweep_json(sweep_.parameter, results));
        });
        console.say(sweep_plot(sweep_.parameter, results, std::min(console.width(), 120)));
        console.say(sweep_table(sweep_.parameter, results));
        say_written(console, folder, "sweep");
        if (console.json()) console.result(sweep_json(sweep_.parameter, results));
        return 0;
    }

    FindContext context_of_sweep(const Learner& learner, const Dataset& dataset, double value) const {
        FindContext context = context_of(learner, dataset);
        context.origin = FindContext::Origin::test;
        context.updates = 0;  // a value may change it
        context.subject += fmt::format(", {} {}", to_string(sweep_.parameter), value);
        return context;
    }

    // All or nothing, so that the same command works again.
    template <class Write>
    static void write_all(RunFolder& folder, Write write) {
        try {
            write();
        } catch (...) {
            folder.remove_unless_begun();
            throw;
        }
    }

    static void say_written(Console& console, const RunFolder& folder, const std::string& name) {
        console.say(fmt::format("Written: {}", echoed(folder.file(name + ".svg"))));
    }

    static int stopped(Console& console, int signal) {
        if (console.leads()) console.warn("Stopped; nothing was changed and nothing is left behind.");
        return 128 + signal;
    }

    TrainOptions options_;
    FindOptions find_;
    Sweep sweep_;
    std::string from_csv_, out_;
    bool smoothed_ = false, verify_ = false;
    std::optional<int> verify_steps_;
};

}  // namespace

std::unique_ptr<Verb> make_find() {
    return std::make_unique<Find>();
}

}  // namespace onecycle::cli
