// Where the numbers on an axis stand.
#pragma once

#include <string>
#include <vector>

namespace onecycle::chart {

struct Tick {
    double at;  // on a logarithmic axis: log10 of the value
    std::string label;
};

// About `wanted` round numbers (1, 2 or 5 times a power of ten) inside [low, high].
std::vector<Tick> linear_ticks(double low, double high, int wanted);

// The powers of ten inside 10^low .. 10^high, at most `most` of them. `superscript`: 10⁻³ instead
// of 1e-3.
std::vector<Tick> decade_ticks(double low, double high, int most, bool superscript);

// log10 of each.
std::vector<double> decades(const std::vector<double>& values);

// y at `x` on the line through the points, whose x rise; nan outside.
double height_at(const std::vector<double>& xs, const std::vector<double>& ys, double x);

}  // namespace onecycle::chart
