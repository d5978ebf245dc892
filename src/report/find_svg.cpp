// Range tests as SVG.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "onecycle/chart.h"
#include "onecycle/find_report.h"
#include "report/axis.h"
#include "report/text.h"

namespace onecycle {

namespace {

constexpr double plot_height = 300, legend_below = plot_height + 74, picture_height = legend_below + 42;

}  // namespace

std::string find_svg(const RangeTestAnalysis& a, const std::string& title) {
    const auto& s = a.suggestion;
    SvgPicture picture(picture_height, title,
                       s ? fmt::format("Steepest descent at {}; from {} to {} the loss falls nearly as fast",
                                       short_number(s->lr), short_number(s->low), short_number(s->high))
                         : a.reason);
    const std::vector<double> x = decades(a.lr);
    const Range across = x.empty() ? Range{-7, 1} : Range{x.front(), x.back()};
    SvgPanel panel = picture.panel({.top = picture.top(),
                                    .height = plot_height,
                                    .x = across,
                                    .y = shown_range(a.smoothed, 2 * a.sigma),
                                    .log_x = true,
                                    .x_label = "learning rate",
                                    .y_label = "loss"});
    std::vector<LegendItem> legend{{Shape::dots, std::string(Ink::raw), "one batch"},
                                   {Shape::line, std::string(Ink::main), "smoothed"}};
    if (s) {
        panel.band(std::log10(s->low), std::log10(s->high), Ink::good);
        legend.push_back({Shape::band, std::string(Ink::good), "good range"});
    }
    if (a.edge) panel.vertical(std::log10(*a.edge), Ink::bad);
    panel.dots(x, a.loss, Ink::raw, 2.6);
    panel.line(x, a.smoothed, Ink::main);
    const auto mark = [&](double rate, Shape shape, std::string_view ink, const std::string& text) {
        const auto i =
            static_cast<std::size_t>(std::lower_bound(a.lr.begin(), a.lr.end(), rate) - a.lr.begin());
        panel.mark(x[i], a.smoothed[i], shape, ink);
        legend.push_back({shape, std::string(ink), text + " " + short_number(rate)});
    };
    if (s) {
        mark(*a.lowest, Shape::triangle, Ink::fair, "lowest");
        mark(s->lr, Shape::disc, Ink::good, "steepest");
    }
    if (a.edge)
        legend.push_back({Shape::dash, std::string(Ink::bad), "diverges from " + short_number(*a.edge)});
    picture.legend(picture.top() + legend_below, legend);
    return picture.finish();
}

std::string sweep_svg(SweepParameter parameter, const std::vector<SweepResult>& results) {
    SvgPicture picture(picture_height, "Range test over " + to_string(parameter),
                       judge_sweep(parameter, results).advice);
    std::vector<double> all;
    Range across{INFINITY, -INFINITY};
    for (const SweepResult& result : results) {
        const RangeTestAnalysis& a = result.test.analysis;
        all.insert(all.end(), a.smoothed.begin(), a.smoothed.end());
        for (const double x : decades(a.lr)) across = {std::min(across.low, x), std::max(across.high, x)};
    }
    if (!(across.low <= across.high)) across = {-7, 1};
    SvgPanel panel = picture.panel({.top = picture.top(),
                                    .height = plot_height,
                                    .x = across,
                                    .y = shown_range(all),
                                    .log_x = true,
                                    .x_label = "learning rate",
                                    .y_label = "loss, smoothed"});
    std::vector<LegendItem> legend;
    for (std::size_t i = 0; i < results.size(); ++i) {
        const RangeTestAnalysis& a = results[i].test.analysis;
        panel.line(decades(a.lr), a.smoothed, Ink::dashed_series(i));
        legend.push_back({Shape::line, Ink::dashed_series(i), short_number(results[i].value, 6)});
    }
    picture.legend(picture.top() + legend_below, legend);
    return picture.finish();
}

}  // namespace onecycle
