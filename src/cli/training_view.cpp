#include "cli/training_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/signals.h"
#include "onecycle/find_report.h"
#include "onecycle/run_folder.h"
#include "onecycle/training_report.h"

namespace onecycle::cli {

namespace {

std::string shown(const std::optional<double>& rate) {
    return rate ? fmt::format("{:.2g}", *rate) : "none";
}

}  // namespace

std::string duration(double seconds) {
    if (seconds < 90) return fmt::format("{:.0f} s", seconds);
    if (seconds < 5400) return fmt::format("{:.0f} min", seconds / 60);
    return fmt::format("{:.1f} h", seconds / 3600);
}

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
        if (run_) write_range_test(*run_, "find/", test);
    };
    observer.stop = stop_signal;
    observer.log = console_.log();
    return observer;
}

void TrainingView::expect(std::int64_t training_steps, int size) {
    training_steps_ = training_steps;
    size_ = size;
}

void TrainingView::step(const StepReport& report) {
    // The first steps are slower than all others: memory is touched for the first time.
    constexpr int steps_before_estimate = 4;
    if (++steps_seen_ == steps_before_estimate && training_steps_ > 0) estimate(report);
    if (!console_.progress_due()) return;
    console_.progress(console_.bar() ? progress_bar(report, std::min(console_.width(), 120))
                                     : progress_line(report));
}

void TrainingView::estimate(const StepReport& report) {
    const auto left = static_cast<double>(report.steps - report.step - 1);
    if (left < 1) return;
    const double total = [&] {
        if (report.activity == StepReport::Activity::train) return report.seconds_left;
        return report.seconds_left / left * static_cast<double>(training_steps_) + report.seconds_left;
    }();
    const char* what =
        report.activity == StepReport::Activity::train ? "training" : "range test and training";
    console_.say(fmt::format("Expected time on this machine: {} for {}.", duration(total), what));
    // The work grows with the square of the size.
    constexpr double patience = 600;
    if (total <= patience) return;
    const int smaller = static_cast<int>(size_ * std::sqrt(patience / total)) / 32 * 32;
    if (smaller >= 64) console_.say(fmt::format("--size {} would bring it below 10 minutes.", smaller));
}

void TrainingView::epoch(const EpochReport& e) {
    if (!header_said_) console_.say("epoch  train loss  valid loss  accuracy      lr  images/s     time");
    header_said_ = true;
    std::string line = fmt::format("{:>5}  {:>10.4f}  {:>10.4f}  {:>6.1f} %  {:>6.1e}  {:>8.1f}  {:>7}",
                                   e.epoch + 1, e.train_loss, e.valid_loss, 100 * e.accuracy, e.lr,
                                   e.images_per_second, duration(e.seconds));
    if (e.interval)
        line += fmt::format("  (95 %: {:.0f} to {:.0f} %)", 100 * e.interval->low, 100 * e.interval->high);
    console_.say(line);
}

}  // namespace onecycle::cli
