#include "report/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "onecycle/chart.h"
#include "report/text.h"

namespace onecycle::chart {

namespace {

// 1e-3, 0.01, 0.1, 1, 10, 100, 1e3.
std::string plain_power(int exponent) {
    return std::abs(exponent) < 3 ? short_number(std::pow(10, exponent), 3) : fmt::format("1e{}", exponent);
}

}  // namespace

std::vector<Tick> linear_ticks(double low, double high, int wanted) {
    const double rough = (high - low) / wanted;
    const int exponent = static_cast<int>(std::floor(std::log10(rough)));
    const double power = std::pow(10, exponent);
    const double lead = rough / power;
    const double times = lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10;
    const double step = times * power;
    const int decimals = std::max(0, times == 10 ? -exponent - 1 : -exponent);
    std::vector<Tick> ticks;
    for (double i = std::ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; ++i) {
        const double at = i * step;
        const double size = std::max(std::abs(low), std::abs(high));
        const bool plain = size < 1e6 && decimals <= 4;
        ticks.push_back({at, at == 0 ? "0"
                             : plain ? fmt::format("{:.{}f}", at, decimals)
                                     : short_number(at)});
    }
    return ticks;
}

std::vector<Tick> decade_ticks(double low, double high, int most, bool superscript) {
    const int first = static_cast<int>(std::ceil(low - 1e-9)),
              last = static_cast<int>(std::floor(high + 1e-9));
    const int every = std::max(1, (last - first) / std::max(1, most) + 1);
    std::vector<Tick> ticks;
    for (int exponent = first; exponent <= last; exponent += every)
        ticks.push_back(
            {static_cast<double>(exponent), superscript ? power_of_ten(exponent) : plain_power(exponent)});
    return ticks;
}

Range shown_range(const std::vector<double>& values, double at_least) {
    Range range{INFINITY, -INFINITY};
    for (const double value : values)
        if (std::isfinite(value)) range = {std::min(range.low, value), std::max(range.high, value)};
    if (!(range.low <= range.high)) return {0, 1};
    double span = range.high - range.low;
    if (span <= 1e-9 * std::abs(range.high)) span = range.high == 0 ? 1 : std::abs(range.high);
    const double margin = std::max(0.12 * span, at_least);
    return {range.low - margin, range.high + margin};
}

std::vector<double> decades(const std::vector<double>& values) {
    std::vector<double> out;
    for (const double value : values) out.push_back(std::log10(value));
    return out;
}

double height_at(const std::vector<double>& xs, const std::vector<double>& ys, double x) {
    const auto right = std::lower_bound(xs.begin(), xs.end(), x);
    if (right == xs.end() || (right == xs.begin() && *right > x)) return NAN;
    const auto i = static_cast<std::size_t>(right - xs.begin());
    if (i == 0) return ys[0];
    return ys[i - 1] + (ys[i] - ys[i - 1]) * (x - xs[i - 1]) / (xs[i] - xs[i - 1]);
}

}  // namespace onecycle::chart
