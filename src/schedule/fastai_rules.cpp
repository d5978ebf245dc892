// fastai 2, callback/schedule.py (valley, slide, minimum, steep, lr_find) and learner.py
// (AvgSmoothLoss). Where Python raises an IndexError or an argmin of nothing, the answer here is
// empty.
#include <algorithm>
#include <cmath>

#include "onecycle/range_test.h"

namespace onecycle {

namespace {

using Index = std::ptrdiff_t;
using Column = std::vector<double>;

Index length(const Column& column) {
    return static_cast<Index>(column.size());
}

// Element `i`, from the end when negative, as in Python; empty outside.
std::optional<double> at(const Column& column, Index i) {
    if (i < 0) i += length(column);
    if (i < 0 || i >= length(column)) return std::nullopt;
    return column[static_cast<std::size_t>(i)];
}

// The middle of the longest falling subsequence. fastai's O(n^2) search, done in O(n log n).
std::optional<double> valley(const Column& lr, const Column& loss) {
    Column tails;  // tails[m]: the largest last value of a falling subsequence of m+1 values so far
    Index end = 0, longest = 1, start = 0;
    for (Index i = 0; i < length(loss); ++i) {
        const double value = loss[static_cast<std::size_t>(i)];
        const auto place = std::lower_bound(tails.begin(), tails.end(), value, std::greater<>());
        const Index reached = place - tails.begin() + 1;  // the longest one that ends in row i
        if (place == tails.end())
            tails.push_back(value);
        else
            *place = value;
        if (reached > longest) {
            longest = reached;
            end = i;
            start = end - longest;  // not the subsequence's own start, and can be -1: as in fastai
        }
    }
    const double third = static_cast<double>(end - start) / 3;
    return at(lr, start + static_cast<Index>(third) + static_cast<Index>(third / 2));
}

// numpy.gradient over the row number.
Column gradient(const Column& y) {
    const std::size_t n = y.size();
    Column g(n);
    for (std::size_t i = 0; i < n; ++i) {
        const std::size_t left = i == 0 ? 0 : i - 1, right = i + 1 == n ? i : i + 1;
        g[i] = (y[right] - y[left]) / static_cast<double>(right - left);
    }
    return g;
}

// Two points 15 rows apart move left from the end while their slopes differ by more than a
// threshold.
std::optional<double> slide(const Column& lr, const Column& loss) {
    constexpr Index distance = 15;
    constexpr double threshold = 0.005;
    if (length(loss) < distance + 1) return std::nullopt;
    const Column g = gradient(loss);
    Index right = length(loss) - 1, left = right - distance;
    std::optional<double> answer = at(lr, left);
    while (left >= 0 && std::abs(*at(g, right) - *at(g, left)) > threshold) {
        answer = at(lr, left);
        --right, --left;
    }
    return answer;
}

std::optional<double> minimum(const Column& lr, const Column& loss) {
    if (loss.empty()) return std::nullopt;
    return *at(lr, std::min_element(loss.begin(), loss.end()) - loss.begin()) / 10;
}

// The steepest fall between two neighbours, over ln(rate). As argmin does, the first NaN (between
// two infinite losses) wins.
std::optional<double> steep(const Column& lr, const Column& loss) {
    std::optional<double> answer;
    double best = 0;
    for (std::size_t i = 0; i + 1 < loss.size(); ++i) {
        const double slope = (loss[i + 1] - loss[i]) / (std::log(lr[i + 1]) - std::log(lr[i]));
        if (std::isnan(slope)) return lr[i];
        if (answer && !(slope < best)) continue;
        best = slope;
        answer = lr[i];
    }
    return answer;
}

}  // namespace

std::vector<double> fastai_smooth(const std::vector<double>& loss, double beta) {
    Column smoothed;
    double value = 0, weight = 1;
    for (const double next : loss) {
        value -= (value - next) * (1 - beta);  // torch.lerp's own form: an infinite loss is followed by NaN
        weight *= beta;
        smoothed.push_back(value / (1 - weight));
    }
    return smoothed;
}

FastaiRules fastai_rules(const std::vector<double>& lr, const std::vector<double>& smoothed,
                         std::int64_t planned_steps) {
    const Index from = std::min<Index>(planned_steps / 10, length(lr));
    const Index to = std::max(from, length(lr) - 5);
    const Column trimmed(smoothed.begin() + from, smoothed.begin() + to);
    const auto is_nan = [](double value) { return std::isnan(value); };
    const auto good = std::find_if(trimmed.begin(), trimmed.end(), is_nan) - trimmed.begin();
    const Column y(trimmed.begin(), trimmed.begin() + good);
    const Column x(lr.begin() + from, lr.begin() + from + good);
    return {valley(x, y), slide(x, y), minimum(x, y), steep(x, y)};
}

}  // namespace onecycle
