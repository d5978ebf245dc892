#include "onecycle/range_test.h"
#include "rules/blow_up.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <span>

#include "onecycle/error.h"
#include "schedule/descent_fit.h"
#include "schedule/rounding.h"

namespace onecycle {

namespace {

using Column = std::vector<double>;

constexpr std::size_t start_rows = 10;           // whose median is the loss at the start
constexpr std::size_t median_rows = 7;           // of the running median
constexpr std::size_t fewest_rows = 10;          // below this nothing is suggested
constexpr double gaussian_decades = 0.32;        // standard deviation
constexpr double nearly_as_steep = 0.7;          // of the range of good rates
constexpr double nearly_as_steep_widths = 1.23;  // of a logistic: ln(0.774 / 0.226)
constexpr double cap_above_start = 0.1;          // relative
constexpr double flat = 1e-6;                    // relative: a drop below this is rounding
// A fall counts when it lowers the sum of squared errors by so many times the variance of one
// batch. Noise alone, with or without a rise at its end, gets there once in a hundred curves; a
// fall of three deviations nearly always.
constexpr double evidence_needed = 18;
// Deviations, in decades, of the best maximum of one cycle from what the clearest curve says, and
// from what is usual. Only their ratio counts. docs/results.md finds the same one: 0.41 to 0.27,
// with the grid's own half decades in both.
constexpr double curve_decades = 0.3, usual_decades = 0.2;
constexpr double highest_above_steepest = 32;
constexpr double evidence_of_slope = 6;  // deviations of its noise that a slope must have to count by itself

// Of a non-empty set; reorders it. The mean of the middle two for an even number.
double median(std::span<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    if (values.size() % 2 == 1) return *middle;
    return (*std::max_element(values.begin(), middle) + *middle) / 2;
}

// By so much above `start`, relative to its size: losses may be negative.
double above(double start, double relative) {
    return start + relative * std::abs(start);
}

void check(const Column& lr, const Column& loss) {
    const auto refuse = [](std::size_t row, const char* why) {
        throw Error(ErrorKind::data, "cannot read the range test", fmt::format("row {}", row + 1), why,
                    "give one loss for each rate, the rates above 0 and rising");
    };
    if (lr.size() != loss.size()) refuse(std::min(lr.size(), loss.size()), "a rate or a loss is missing");
    for (std::size_t i = 0; i < lr.size(); ++i) {
        if (!std::isfinite(lr[i]) || lr[i] <= 0) refuse(i, "the rate is not a number above 0");
        if (i > 0 && lr[i] <= lr[i - 1]) refuse(i, "the rate is not above the one before");
    }
}

// The median of the first ten losses, those that are finite.
std::optional<double> start_level(const Column& loss) {
    Column first;
    for (std::size_t i = 0; i < std::min(start_rows, loss.size()); ++i)
        if (std::isfinite(loss[i])) first.push_back(loss[i]);
    if (first.empty()) return std::nullopt;
    return median(first);
}

Column capped(const Column& loss, double cap) {
    Column out = loss;
    for (double& value : out)
        if (!(value < cap) || !std::isfinite(value)) value = cap;
    return out;
}

Column finite(const Column& loss) {
    Column out = loss;
    for (double& value : out)
        if (!std::isfinite(value)) value = HUGE_VAL;
    return out;
}

// Centred; at the ends the window is what there is.
Column running_median(const Column& y) {
    constexpr std::size_t half = median_rows / 2;
    Column out;
    for (std::size_t i = 0; i < y.size(); ++i) {
        const std::size_t from = i < half ? 0 : i - half, to = std::min(i + half + 1, y.size());
        Column window(y.begin() + static_cast<std::ptrdiff_t>(from),
                      y.begin() + static_cast<std::ptrdiff_t>(to));
        out.push_back(median(window));
    }
    return out;
}

// A weighted mean over x, cut at four standard deviations, its weights renormalised at the ends.
Column gaussian(const Column& x, const Column& y, double deviation) {
    Column out;
    for (std::size_t i = 0, from = 0; i < x.size(); ++i) {
        while (x[from] < x[i] - 4 * deviation) ++from;
        double sum = 0, weights = 0;
        for (std::size_t j = from; j < x.size() && x[j] <= x[i] + 4 * deviation; ++j) {
            const double distance = (x[j] - x[i]) / deviation;
            const double weight = std::exp(-distance * distance / 2);
            sum += weight * y[j];
            weights += weight;
        }
        out.push_back(sum / weights);
    }
    return out;
}

Column slope(const Column& x, const Column& y) {
    Column out(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        const std::size_t left = i == 0 ? 0 : i - 1, right = i + 1 == x.size() ? i : i + 1;
        out[i] = right > left ? (y[right] - y[left]) / (x[right] - x[left]) : 0;
    }
    return out;
}

// The noise of one batch loss, from second differences (a straight descent drops out of them) of
// the rows before `end`. Their median size is 0.6745 deviations, and the deviation sqrt(6) that of
// one loss.
double batch_noise(const Column& loss, std::size_t end) {
    Column differences;
    for (std::size_t i = 1; i + 1 < end; ++i) {
        const double second = loss[i - 1] - 2 * loss[i] + loss[i + 1];
        if (std::isfinite(second)) differences.push_back(std::abs(second));
    }
    return differences.empty() ? 0 : median(differences) / (0.6745 * std::sqrt(6.0));
}

// The rows before the loss leaves for good: no running median after them is back at the level of
// the start.
std::size_t rows_before_leaving(const Column& medians, double level, double noise) {
    std::size_t rows = medians.size();
    while (rows > fewest_rows && !(medians[rows - 1] <= level + 1.5 * noise)) --rows;
    return rows;
}

// One descent and one rise through the rows before the loss leaves. Single losses further from the
// level, or below the lowest median, than four deviations count as that far.
DescentFit descent_in(const Column& x, const Column& loss, const Column& medians, double level,
                      double noise) {
    const std::size_t rows = rows_before_leaving(medians, level, noise);
    const auto end = medians.begin() + static_cast<std::ptrdiff_t>(rows);
    const double lowest = std::min(*std::min_element(medians.begin(), end), level);
    Column usable;
    for (std::size_t i = 0; i < rows; ++i)
        usable.push_back(
            std::clamp(std::isfinite(loss[i]) ? loss[i] : HUGE_VAL, lowest - 4 * noise, level + 4 * noise));
    return fit_descent(std::span(x).first(rows), usable, noise);
}

std::size_t steepest_before(const Column& slopes, std::size_t bottom) {
    const auto begin = slopes.begin();
    return static_cast<std::size_t>(std::min_element(begin, begin + static_cast<std::ptrdiff_t>(bottom) + 1) -
                                    begin);
}

// The row at or right of `at`.
std::size_t row_at(const Column& x, double at) {
    const auto right = std::lower_bound(x.begin(), x.end(), at);
    return std::min(static_cast<std::size_t>(right - x.begin()), x.size() - 1);
}

// What the curve alone says of one cycle's maximum: half of the rate at which the loss is clearly
// up again, for the short peak of one cycle bears more than the steepest descent. A curve can stay
// at its bottom long after the steps have become too large: where the steepest point is beyond
// doubt, the answer is at most 1.5 decades above it. Without an edge, half-way in decades from the
// steepest point to the lowest.
double one_cycle_maximum(const RangeTestAnalysis& a, bool steepest_is_sure) {
    const double steepest = a.suggestion->lr;
    if (!a.edge) return std::sqrt(steepest * *a.lowest);
    const double half = *a.edge / 2;
    return steepest_is_sure ? std::min(half, highest_above_steepest * steepest) : half;
}

// Both answers are uncertain; each counts by the inverse of its variance in decades.
void choose_auto(RangeTestAnalysis& a, bool steepest_is_sure, double evidence, bool usual_alone) {
    a.curve_lr = one_cycle_maximum(a, steepest_is_sure);
    if (!a.usual_lr) {
        a.curve_weight = 1;
        a.auto_lr = two_digits(*a.curve_lr);
        return;
    }
    const double curve_deviation = curve_decades * (1 + evidence_needed / evidence);
    const double curve = 1 / (curve_deviation * curve_deviation), usual = 1 / (usual_decades * usual_decades);
    a.curve_weight = usual_alone ? 0 : curve / (curve + usual);
    a.auto_lr = two_digits(std::pow(*a.curve_lr, a.curve_weight) * std::pow(*a.usual_lr, 1 - a.curve_weight));
}

}  // namespace

bool has_blown_up(const std::vector<double>& loss) {
    BlowUpDetector detector;
    return std::ranges::any_of(loss, [&](double next) { return detector.add(next); });
}

RangeTestAnalysis analyse_range_test(const std::vector<double>& lr, const std::vector<double>& loss,
                                     const AnalysisOptions& options) {
    check(lr, loss);
    const std::size_t n = lr.size();
    RangeTestAnalysis a;
    a.lr = lr;
    a.loss = loss;
    a.smoothed.assign(n, 0);
    a.usual_lr = options.usual_lr;
    const std::int64_t planned =
        options.planned_steps > 0 ? options.planned_steps : static_cast<std::int64_t>(n);
    a.fastai = fastai_rules(lr, options.already_smoothed ? loss : fastai_smooth(loss), planned);

    const std::optional<double> start = start_level(loss);
    if (n == 0 || !start) {
        a.reason = n == 0 ? "no clear descent: the curve has no points"
                          : "no clear descent: the loss was not a number from the start; check the data";
        return a;
    }
    const Column usable = capped(loss, above(*start, cap_above_start));
    const Column medians = running_median(usable);
    Column x(n);
    std::transform(lr.begin(), lr.end(), x.begin(), [](double rate) { return std::log10(rate); });
    const double spacing = n > 1 ? (x.back() - x.front()) / static_cast<double>(n - 1) : 1;
    const double deviation = std::max(gaussian_decades, 2 * spacing);
    a.smoothed = options.already_smoothed ? usable : gaussian(x, medians, deviation);

    const std::size_t bottom =
        static_cast<std::size_t>(std::min_element(a.smoothed.begin(), a.smoothed.end()) - a.smoothed.begin());
    a.lowest = lr[bottom];
    a.lowest_loss = a.smoothed[bottom];
    const double effective_rows =
        2 * std::sqrt(std::numbers::pi) * deviation / spacing;  // 14 in 8 decades of 100
    // The level at the start from as many rows as the window holds, so that both ends are equally
    // sure; of a short curve from its first quarter, before the descent.
    const auto level_rows =
        static_cast<std::size_t>(std::clamp(static_cast<double>(n) / 4, 1.0, effective_rows));
    const double level =
        std::accumulate(usable.begin(), usable.begin() + static_cast<std::ptrdiff_t>(level_rows), 0.0) /
        static_cast<double>(level_rows);
    const Column all_medians = running_median(finite(loss));
    a.sigma = batch_noise(loss, rows_before_leaving(all_medians, level, batch_noise(loss, n)));
    a.resolution = std::max(3 * a.sigma * std::sqrt(1 / static_cast<double>(level_rows) + 1 / effective_rows),
                            flat * std::abs(*start));
    const double drop = level - a.lowest_loss;
    if (n < fewest_rows) {
        a.reason = fmt::format("no clear descent: {} {} too few; {}", n, n == 1 ? "point is" : "points are",
                               planned > static_cast<std::int64_t>(n)
                                   ? std::string("the loss left at once, so start with a lower --start-lr")
                                   : fmt::format("take {} or more", fewest_rows));
        return a;
    }
    const DescentFit fit = descent_in(x, loss, all_medians, level, a.sigma);
    if (std::min(drop, fit.drop) <= flat * std::abs(*start) ||
        fit.gain < evidence_needed * a.sigma * a.sigma) {
        a.reason = fmt::format(
            "no clear descent: the loss fell by {:.2g} at most, and from one batch to the next it jumps by "
            "about "
            "{:.2g}; take more --steps, or check that the labels are right",
            std::max(drop, 0.0), a.sigma);
        return a;
    }
    for (std::size_t i = bottom + 1; i < n && !a.edge; ++i)
        if (medians[i] > a.lowest_loss + drop / 2) a.edge = lr[i];

    const Column slopes = slope(x, a.smoothed);
    // The deviation of a slope behind a Gaussian window; 1.25 is what the running median costs.
    const double slope_noise =
        1.25 * a.sigma * std::sqrt(spacing / (4 * std::sqrt(std::numbers::pi) * std::pow(deviation, 3)));
    std::size_t steepest = steepest_before(slopes, bottom), low = steepest, high = steepest;
    const bool sure = -slopes[steepest] > evidence_of_slope * slope_noise;
    if (sure) {
        const auto steep_enough = [&](std::size_t i) {
            return slopes[i] <= nearly_as_steep * slopes[steepest];
        };
        while (low > 0 && steep_enough(low - 1)) --low;
        while (high + 1 < n && steep_enough(high + 1)) ++high;
    } else {
        // A wiggle of a flat part can look as steep as the descent: what all rows together show
        // counts.
        steepest = row_at(x, fit.centre);
        low = row_at(x, fit.centre - nearly_as_steep_widths * fit.width);
        high = row_at(x, fit.centre + nearly_as_steep_widths * fit.width);
    }
    a.suggestion = Suggestion{lr[steepest], lr[low], lr[high]};
    choose_auto(a, sure, a.sigma > 0 ? fit.gain / (a.sigma * a.sigma) : HUGE_VAL, options.usual_alone);
    return a;
}

}  // namespace onecycle
