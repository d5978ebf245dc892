// The line that shows how far a training or a range test has come.
#include <fmt/format.h>

#include <algorithm>

#include "onecycle/report.h"
#include "report/text.h"

namespace onecycle {

namespace {

std::string heading(const StepReport& r) {
    const std::string activity = r.activity == StepReport::Activity::find ? "find"
                                 : r.activity == StepReport::Activity::trial
                                     ? "verify"
                                     : fmt::format("epoch {}", r.epoch);
    return activity + (r.size ? fmt::format(" {} px", r.size) : "");
}

std::string figures(const StepReport& r) {
    const std::string text = fmt::format("loss {:.4g}  rate {}", r.smoothed_loss, short_number(r.lr));
    if (r.images_per_second <= 0) return text;  // the first step tells no pace
    return fmt::format("{}  {} images/s  {} left", text, short_number(r.images_per_second, 3),
                       duration(r.seconds_left));
}

}  // namespace

std::string progress_bar(const StepReport& r, int width) {
    const std::int64_t done = std::clamp<std::int64_t>(r.step + 1, 0, std::max<std::int64_t>(r.steps, 0));
    const double share = r.steps > 0 ? static_cast<double>(done) / static_cast<double>(r.steps) : 0;
    return bar_line(heading(r), share, fmt::format("{}/{}  {}", done, r.steps, figures(r)),
                    std::max(width, 40));
}

std::string progress_line(const StepReport& r) {
    return fmt::format("{}  step {}/{}  {}", heading(r), r.step + 1, r.steps, figures(r));
}

}  // namespace onecycle
