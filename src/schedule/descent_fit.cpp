#include "schedule/descent_fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <optional>
#include <vector>

namespace onecycle {

namespace {

using Column = std::vector<double>;

constexpr std::array widths = {0.08, 0.13, 0.2, 0.32, 0.5};  // decades
constexpr double grid_decades = 0.08;                        // between centres; turns lie twice as far apart
constexpr double most_centres = 80;
constexpr double least_weight =
    1e-3;  // of what is left of a logistic beside level and rise: else it is one of them

double dot(const Column& a, const Column& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
}

void subtract(Column& from, double factor, const Column& what) {
    for (std::size_t i = 0; i < from.size(); ++i) from[i] -= factor * what[i];
}

struct Logistic {
    double centre, width;
    Column values;
    double squares;
};

std::vector<Logistic> logistics(std::span<const double> x, double step) {
    std::vector<Logistic> all;
    for (const double width : widths)
        for (double centre = x.front(); centre <= x.back(); centre += step) {
            Column values;
            for (const double at : x) values.push_back(1 / (1 + std::exp(-(at - centre) / width)));
            const double squares = dot(values, values);
            all.push_back({centre, width, std::move(values), squares});
        }
    return all;
}

// What remains of the losses beside a level and, if there is a turn, a rise: an orthonormal basis
// of both.
class Background {
  public:
    Background(std::span<const double> x, std::span<const double> y, std::optional<double> turn)
        : level_(x.size(), 1 / std::sqrt(static_cast<double>(x.size()))), rest_(y.begin(), y.end()) {
        subtract(rest_, dot(level_, rest_), level_);
        if (!turn) return;
        for (const double at : x) rise_.push_back(std::max(0.0, at - *turn));
        subtract(rise_, dot(level_, rise_), level_);
        const double length = std::sqrt(dot(rise_, rise_));
        for (double& value : rise_) value /= length;
        rise_of_losses_ = dot(rise_, rest_);
        subtract(rest_, rise_of_losses_, rise_);
    }

    double error() const { return dot(rest_, rest_); }
    bool rises() const { return rise_of_losses_ >= 0; }

    // The drop of least squares; 0 where it would not be one.
    double drop(const Logistic& s) const {
        const double on_level = dot(level_, s.values);
        const double on_rise = rise_.empty() ? 0 : dot(rise_, s.values);
        const double weight = s.squares - on_level * on_level - on_rise * on_rise;
        if (weight < least_weight) return 0;
        const double drop = -dot(rest_, s.values) / weight;
        return drop > 0 && rise_of_losses_ + drop * on_rise >= 0 ? drop : 0;
    }
    // By so much it lowers the error.
    double gain(const Logistic& s, double drop) const { return -drop * dot(rest_, s.values); }

  private:
    Column level_, rise_, rest_;
    double rise_of_losses_ = 0;
};

}  // namespace

DescentFit fit_descent(std::span<const double> x, std::span<const double> y, double noise) {
    if (x.size() < 3) return {};
    const double step = std::max(grid_decades, (x.back() - x.front()) / most_centres);
    const std::vector<Logistic> falls = logistics(x, step);
    DescentFit best;
    double without = HUGE_VAL, with = HUGE_VAL;         // the least errors
    std::vector<double> least(falls.size(), HUGE_VAL);  // of each fall, over all turns
    const auto consider = [&](std::optional<double> turn) {
        const Background background(x, y, turn);
        const double error = background.error();
        if (background.rises()) without = std::min(without, error);
        for (std::size_t i = 0; i < falls.size(); ++i) {
            const Logistic& fall = falls[i];
            if (turn && fall.centre > *turn) continue;
            const double drop = background.drop(fall);
            const double left = drop > 0 ? error - background.gain(fall, drop) : HUGE_VAL;
            least[i] = std::min(least[i], left);
            if (left >= with) continue;
            with = left;
            best = {fall.centre, fall.width, drop, 0};
        }
    };
    consider(std::nullopt);
    for (double turn = x.front(); turn < x[x.size() - 2]; turn += 2 * step) consider(turn);
    if (best.drop <= 0) return best;
    best.gain = std::max(0.0, without - with);
    double weights = 0, sum = 0;
    for (std::size_t i = 0; noise > 0 && i < falls.size(); ++i) {
        const double likelihood = std::exp((with - least[i]) / (2 * noise * noise));
        weights += likelihood;
        sum += likelihood * falls[i].centre;
    }
    if (weights > 0) best.centre = sum / weights;
    return best;
}

}  // namespace onecycle
