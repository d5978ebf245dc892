#include "cli/training_view.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/signals.h"
#include "onecycle/error.h"
#include "onecycle/find_report.h"
#include "onecycle/run_folder.h"
#include "onecycle/training_report.h"

namespace onecycle::cli {

namespace {

std::string shown(const std::optional<double>& rate) {
    return rate ? fmt::format("{:.2g}", *rate) : "none";
}

}  // namespace

void say_range_test(Console& console, const RangeTestAnalysis& analysis) {
    std::string plot = find_plot(analysis);
    if (plot.ends_with('\n')) plot.pop_back();
    console.say(plot);
    console.say(console.bold(find_sentence(analysis)));
    const FastaiRules& rules = analysis.fastai;
    console.say(fmt::format("fastai's rules on this curve: valley {}, slide {}, minimum/10 {}, steep {}",
                            shown(rules.valley), shown(rules.slide), shown(rules.minimum),
                            shown(rules.steep)));
}

void write_range_test(RunFolder& run, const std::string& folder, const RangeTestResult& test) {
    run.write(folder + "find.csv", find_csv(test.analysis));
    run.write(folder + "find.svg", find_svg(test.analysis));
    run.write(folder + "find.json", find_json(test));
}

Observer TrainingView::observer() {
    Observer observer;
    observer.on_step = [this](const StepReport& report) { step(report); };
    observer.on_epoch = [this](const EpochReport& report) { epoch(report); };
    observer.on_range_test = [this](const RangeTestResult& test) {
        console_.end_progress();
        say_range_test(console_, test.analysis);
        if (run_) write_range_test(*run_, test.stage > 0 ? "find-unfrozen/" : "find/", test);
    };
    observer.stop = stop_signal;
    observer.log = console_.log();
    return observer;
}

void TrainingView::step(const StepReport& report) {
    if (!console_.progress_due()) return;
    console_.progress(console_.bar() ? progress_bar(report, std::min(console_.width(), 120))
                                     : progress_line(report));
}

void TrainingView::epoch(const EpochReport& e) {
    if (!header_said_) console_.say("epoch  train loss  valid loss  accuracy      lr  images/s  seconds");
    header_said_ = true;
    std::string line =
        fmt::format("{:>5}  {:>10.4f}  {:>10.4f}  {:>6.1f} %  {:>6.1e}  {:>8.1f}  {:>7.1f}", e.epoch + 1,
                    e.train_loss, e.valid_loss, 100 * e.accuracy, e.lr, e.images_per_second, e.seconds);
    if (e.interval)
        line += fmt::format("  (95 %: {:.0f} to {:.0f} %)", 100 * e.interval->low, 100 * e.interval->high);
    console_.say(line);
}

}  // namespace onecycle::cli
