#include "cli/training_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/out_folder.h"
#include "core/echoed.h"
#include "core/signals.h"
#include "onecycle/error.h"
#include "onecycle/report.h"
#include "onecycle/run_folder.h"

namespace onecycle::cli {

namespace {

constexpr int widest_plot = 120;  // columns

std::string shown(const std::optional<double>& rate) {
    return rate ? fmt::format("{:.2g}", *rate) : "none";
}

}  // namespace

FindContext context_of(const Learner& learner, const Dataset& dataset) {
    const TrainOptions& o = learner.options();
    const auto images = static_cast<std::int64_t>(dataset.train.size());
    const auto batch = std::min<std::int64_t>(o.batch_size, images);
    return {.origin = FindContext::Origin::training,
            .subject = fmt::format("{}, {}, {} px, batch {}{}, seed {}", echoed(data_name(o.data)), o.arch,
                                   o.sizes.empty() ? o.size : o.sizes.front().size, batch,
                                   o.accumulate > 1 ? fmt::format(" x {}", o.accumulate) : "", o.seed),
            .updates = all_epochs(o) * learner.steps_per_epoch()};
}

void say_range_test(Console& console, const RangeTestAnalysis& analysis, const FindContext& context) {
    if (!context.subject.empty()) console.say("Range test: " + context.subject);
    std::string plot = find_plot(analysis, context, std::min(console.width(), widest_plot));
    if (plot.ends_with('\n')) plot.pop_back();
    console.say(plot);
    console.say(console.bold(find_sentence(analysis, context)));
    for (const std::string& line : find_reasons(analysis, context)) console.say(line);
    const FastaiRules& rules = analysis.fastai;
    console.say(fmt::format("fastai's rules on this curve: valley {}, slide {}, minimum/10 {}, steep {}",
                            shown(rules.valley), shown(rules.slide), shown(rules.minimum),
                            shown(rules.steep)));
}

void write_range_test(RunFolder& run, const std::string& folder, const RangeTestResult& test,
                      const FindContext& context, const std::optional<std::vector<RateTrial>>& trials) {
    run.write(folder + "find.csv", find_csv(test.analysis, context));
    run.write(folder + "find.svg", find_svg(test.analysis, context));
    run.write(folder + "find.json", find_json(test, context, trials));
}

Observer TrainingView::observer() {
    Observer observer;
    observer.on_step = [this](const StepReport& report) { step(report); };
    observer.on_epoch = [this](const EpochReport& report) { epoch(report); };
    observer.on_range_test = [this](const RangeTestResult& test) { range_test(test); };
    observer.stop = observer.stop_at_once = stop_signal;
    observer.save = save_requested;
    observer.log = console_.log();
    observer.ranks = console_.ranks();
    return observer;
}

void TrainingView::step(const StepReport& report) {
    if (!console_.progress_due()) return;
    console_.progress(console_.bar() ? progress_bar(report, std::min(console_.width(), 120))
                                     : progress_line(report));
}

void TrainingView::range_test(const RangeTestResult& test) {
    console_.end_progress();
    FindContext context = context_;
    if (test.stage > 0) context.origin = FindContext::Origin::stage;
    say_range_test(console_, test.analysis, context);
    if (!run_) return;
    try {
        write_range_test(*run_, test.stage > 0 ? "find-unfrozen/" : "find/", test, context);
    } catch (const Error& error) {
        // The training needs the rate alone, and has it.
        console_.warn(std::string("warning: the range test is not stored: ") + error.what());
    }
}

void TrainingView::epoch(const EpochReport& e) {
    const int columns = console_.report_columns();
    if (!header_said_) console_.say(epoch_heading(e.interval.has_value(), columns));
    header_said_ = true;
    console_.say(epoch_line(e, columns));
}

}  // namespace onecycle::cli
