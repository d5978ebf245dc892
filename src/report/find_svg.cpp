// Range tests as SVG.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "onecycle/chart.h"
#include "onecycle/report.h"
#include "report/axis.h"
#include "report/text.h"

namespace onecycle {

using namespace chart;

namespace {

constexpr int title_columns = 68;  // that fit
constexpr double plot_height = 300, legend_below = plot_height + 74, picture_height = legend_below + 42;

}  // namespace

std::string find_svg(const RangeTestAnalysis& a, const FindContext& context) {
    const auto& s = a.suggestion;
    const std::optional<double> rate = rate_to_train_with(a, context);
    SvgPicture picture(picture_height,
                       context.subject.empty() ? "Learning-rate range test"
                                               : shortened("Range test: " + context.subject, title_columns),
                       find_sentence(a, context));
    const std::vector<double> x = decades(a.lr);
    const Range across = x.empty() ? Range{-7, 1} : Range{x.front(), x.back()};
    SvgPanel panel = picture.panel({.top = picture.top(),
                                    .height = plot_height,
                                    .x = across,
                                    .y = shown_range(a.smoothed, 2 * a.sigma),
                                    .log_x = true,
                                    .x_label = "learning rate",
                                    .y_label = "loss"});
    std::vector<LegendItem> legend;
    if (s) panel.band(std::log10(s->low), std::log10(s->high), Ink::fair);
    if (a.edge) panel.vertical(std::log10(*a.edge), Ink::bad);
    panel.dots(x, a.loss, Ink::raw, 2.6);
    panel.line(x, a.smoothed, Ink::main);
    const auto mark = [&](double lr, Shape shape, std::string_view ink, const std::string& text) {
        const double at = std::log10(lr), height = height_at(x, a.smoothed, at);
        if (std::isfinite(height)) panel.mark(at, height, shape, ink);
        legend.push_back({shape, std::string(ink), text + " " + short_number(lr)});
    };
    if (s) {
        mark(*a.lowest, Shape::triangle, Ink::raw, "lowest");
        mark(s->lr, Shape::disc, Ink::fair, "steepest");
    }
    if (rate) mark(*rate, Shape::star, Ink::good, "one cycle up to");
    std::reverse(legend.begin(), legend.end());  // the last drawn lies above the others and is told first
    if (s) legend.push_back({Shape::band, std::string(Ink::fair), "nearly as steep"});
    if (a.edge)
        legend.push_back({Shape::dash, std::string(Ink::bad), "diverges from " + short_number(*a.edge)});
    legend.push_back({Shape::dots, std::string(Ink::raw), "one batch"});
    legend.push_back({Shape::line, std::string(Ink::main), "smoothed"});
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
