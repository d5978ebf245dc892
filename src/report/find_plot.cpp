// Range tests in the terminal.
#include <algorithm>
#include <cmath>

#include "onecycle/report.h"
#include "report/axis.h"
#include "report/terminal_plot.h"
#include "report/text.h"

namespace onecycle {

using namespace chart;

namespace {

constexpr int plot_rows = 14;

// Items side by side, as many in a line as fit; indented below the axis where there is room.
std::string wrapped(const std::vector<std::string>& items, int width) {
    constexpr int indent = 8, gap = 3;
    std::string out, line;
    const auto end_line = [&] {
        if (!line.empty()) out += repeat(" ", std::min(indent, width - columns(line))) + line + "\n";
        line.clear();
    };
    for (const std::string& item : items) {
        if (indent + columns(line) + gap + columns(item) > width) end_line();
        line += (line.empty() ? "" : std::string(gap, ' ')) + item;
    }
    end_line();
    return out;
}

std::string mark_of(std::size_t curve) {
    static constexpr const char* marks[] = {"●", "△", "■", "◇", "▲", "○", "◆", "□", "+", "×"};
    return marks[curve % std::size(marks)];
}

}  // namespace

std::string find_plot(const RangeTestAnalysis& a, const FindContext& context, int width) {
    if (a.lr.empty()) return "";
    width = std::max(width, 40);
    const std::vector<double> x = decades(a.lr);
    const Range y = shown_range(a.smoothed, 2 * a.sigma);
    TerminalPlot plot(width, plot_rows, {x.front(), x.back()}, y);
    std::vector<std::string> legend;
    std::vector<std::pair<double, std::string_view>> rates;  // also told below the axis
    plot.line(x, a.smoothed);
    const auto on_curve = [&](double rate, const char* symbol, const char* name) {
        const double at = std::log10(rate);
        plot.mark(at, height_at(x, a.smoothed, at), symbol);
        legend.push_back(std::string(symbol) + " " + name + " " + short_number(rate));
        rates.emplace_back(at, symbol);
    };
    if (const auto rate = rate_to_train_with(a, context)) on_curve(*rate, "★", "one cycle up to");
    if (a.suggestion) {
        on_curve(a.suggestion->lr, "◆", "steepest descent");
        legend.push_back("├─┤ nearly as steep " + short_number(a.suggestion->low) + " to " +
                         short_number(a.suggestion->high));
        on_curve(*a.lowest, "▽", "lowest");
    }
    if (a.edge) {
        plot.vertical(std::log10(*a.edge), "┊");
        legend.push_back("┊ diverges from " + short_number(*a.edge));
    }
    for (std::size_t i = 0; i < x.size(); ++i) plot.speck(x[i], a.loss[i], "·");
    legend.push_back("· one batch");

    const Range steep =
        a.suggestion ? Range{std::log10(a.suggestion->low), std::log10(a.suggestion->high)} : Range{1, 0};
    std::string out = plot.render("loss", "rate");
    if (!rates.empty()) out += plot.below(steep, rates) + "\n";
    return out + wrapped(legend, width);
}

std::string sweep_plot(SweepParameter parameter, const std::vector<SweepResult>& results, int width) {
    width = std::max(width, 40);
    std::vector<double> all_y, all_x;
    for (const SweepResult& result : results) {
        const RangeTestAnalysis& a = result.test.analysis;
        all_y.insert(all_y.end(), a.smoothed.begin(), a.smoothed.end());
        if (a.lr.empty()) continue;
        all_x.push_back(std::log10(a.lr.front()));
        all_x.push_back(std::log10(a.lr.back()));
    }
    if (all_x.empty()) return "";
    const auto [low, high] = std::minmax_element(all_x.begin(), all_x.end());
    TerminalPlot plot(width, plot_rows, {*low, *high}, shown_range(all_y));
    std::vector<std::string> legend;
    const int every = static_cast<int>(results.size());
    for (std::size_t i = 0; i < results.size(); ++i) {
        const RangeTestAnalysis& a = results[i].test.analysis;
        plot.marked_line(decades(a.lr), a.smoothed, mark_of(i), static_cast<int>(i), every);
        legend.push_back(mark_of(i) + " " + to_string(parameter) + " " + short_number(results[i].value, 6));
    }
    return plot.render("loss", "rate") + wrapped(legend, width);
}

}  // namespace onecycle
