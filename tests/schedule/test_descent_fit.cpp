// The fit of one descent and one rise, on curves that are just that, and against a finer search.
#include "schedule/descent_fit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "rules/rng.h"

namespace onecycle {
namespace {

struct Curve {
    std::vector<double> x, y;
};

Curve curve(double drop, double centre, double width, double rise, double turn) {
    Curve c;
    for (int i = 0; i < 100; ++i) {
        const double x = -7 + 8.0 * i / 99;
        c.x.push_back(x);
        c.y.push_back(2 - drop / (1 + std::exp(-(x - centre) / width)) + rise * std::max(0.0, x - turn));
    }
    return c;
}

TEST(DescentFit, a_logistic_fall_and_a_rise_are_found_as_they_are) {
    for (const double width : {0.13, 0.2, 0.32, 0.5})
        for (const double centre : {-5.0, -3.0, -2.0}) {
            const Curve c = curve(0.6, centre, width, 0.8, 0);
            const DescentFit fit = fit_descent(c.x, c.y, 0);
            EXPECT_NEAR(fit.centre, centre, 0.13) << width;
            EXPECT_EQ(fit.width, width);
            EXPECT_NEAR(fit.drop, 0.6, 0.06);
        }
}

TEST(DescentFit, what_only_rises_has_no_descent) {
    const Curve c = curve(0, 0, 1, 0.5, -2);
    EXPECT_LT(fit_descent(c.x, c.y, 0).gain, 0.01) << "of a sum of squares of 50";
}

TEST(DescentFit, the_gain_is_what_the_descent_explains) {
    // Without the fall the best is a level: what is left of a fall in the middle is half of the
    // drop, at every row.
    const Curve c = curve(1, -3, 0.08, 0, 9);
    const DescentFit fit = fit_descent(c.x, c.y, 0);
    EXPECT_NEAR(fit.gain, 100 * 0.25, 1.5);
}

TEST(DescentFit, the_centre_keeps_still_under_noise_that_hides_it_from_any_window) {
    double squares = 0;
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        Curve c = curve(0.3, -3, 0.3, 1, -0.5);
        RandomStream stream(seed, RandomPurpose::augment, 0, 0);
        for (double& loss : c.y) loss += 0.1 * normal(stream);
        squares += std::pow(fit_descent(c.x, c.y, 0.1).centre + 3, 2);
    }
    EXPECT_LT(std::sqrt(squares / 60), 0.25) << "decades, at a fall of three deviations";
}

TEST(DescentFit, few_rows_are_no_error) {
    EXPECT_EQ(fit_descent({}, {}, 0).drop, 0);
    const std::vector<double> x{-3, -2}, y{2, 1};
    EXPECT_EQ(fit_descent(x, y, 0).drop, 0);
}

}  // namespace
}  // namespace onecycle
