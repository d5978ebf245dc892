#include "rules/folded_beta.h"

#include <algorithm>
#include <cmath>

namespace onecycle {

namespace {

// A number and its logarithm's derivative by log y, both of I_y(a, a).
struct Tail {
    double log_share, slope;
};

// The regularised incomplete beta function I_y(a, a) at y = exp(t) <= 1/2, by its continued
// fraction (Abramowitz and Stegun 26.5.8, evaluated as Lentz does), which converges fast there.
Tail tail_of(double a, double log_beta, double t) {
    const double y = std::exp(t);
    constexpr double tiny = 1e-300;
    const auto away_from_zero = [](double x) { return std::abs(x) < tiny ? tiny : x; };
    double c = 1, d = 1 / away_from_zero(1 - 2 * a * y / (a + 1)), fraction = d;
    const auto step = [&](double numerator) {
        d = 1 / away_from_zero(1 + numerator * d);
        c = away_from_zero(1 + numerator / c);
        fraction *= d * c;
        return d * c;
    };
    for (int m = 1; m < 10000; ++m) {
        step(m * (a - m) * y / ((a + 2 * m - 1) * (a + 2 * m)));
        const double change = step(-(a + m) * (2 * a + m) * y / ((a + 2 * m) * (a + 2 * m + 1)));
        if (std::abs(change - 1) < 1e-15) break;
    }
    // I = density * y (1 - y) * fraction / a, so that the slope, density * y / I, needs no density.
    const double log_rest = std::log1p(-y);
    return {a * (t + log_rest) - log_beta + std::log(fraction / a), a / ((1 - y) * fraction)};
}

}  // namespace

FoldedBeta folded_beta(double alpha) {
    FoldedBeta table{};
    const double log_beta = 2 * std::lgamma(alpha) - std::lgamma(2 * alpha), half = std::log(0.5);
    table.quantile[0] = 0.5f;
    // 1 - quantile = y where I_y(alpha, alpha) is half of what is left; Newton's method on log I
    // over log y, which is nearly a straight line, from the quantile before.
    double t = half;
    for (int k = 1; k <= FoldedBeta::cells; ++k) {
        const double left = k < FoldedBeta::cells ? FoldedBeta::cells - k : FoldedBeta::last_left;
        const double wanted = std::log(left / FoldedBeta::cells / 2);
        for (int n = 0; n < 100; ++n) {
            const Tail tail = tail_of(alpha, log_beta, t);
            const double next = std::min(t - (tail.log_share - wanted) / tail.slope, half);
            const bool close = std::abs(next - t) <= 1e-13 * std::abs(t);
            t = next;
            if (close || t < -700) break;  // y is then nothing to a float
        }
        t = std::max(t, -700.0);
        table.quantile[k] = static_cast<float>(1 - std::exp(t));
    }
    return table;
}

}  // namespace onecycle
