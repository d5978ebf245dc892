// The analysis of range-test curves: our rule on curves whose answer is known in closed form,
// fastai's rules against fastai run for real (tests/reference/generate_fastai_rules.py), and input
// of every bad kind.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "onecycle/error.h"
#include "onecycle/range_test.h"
#include "rules/blow_up.h"
#include "rules/rng.h"

namespace onecycle {
namespace {

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

struct TestCurve {
    std::vector<double> lr, loss;
};

// A logistic fall, steepest at 10^-2.6, that turns up exponentially from 10^-1.2 on; batch noise
// `sigma`.
TestCurve logistic(std::size_t steps, double sigma = 0, unsigned seed = 0, double fall = 1.6) {
    std::mt19937 generator(seed);
    std::normal_distribution<double> noise;
    TestCurve curve;
    for (std::size_t i = 0; i < steps; ++i) {
        const double x = -7 + 8 * static_cast<double>(i) / static_cast<double>(steps);
        const double rise = x >= -1.2 ? 3 * (std::pow(10, 1.6 * (x + 1.2)) - 1) : 0;
        curve.lr.push_back(std::pow(10, x));
        curve.loss.push_back(2.3 - fall / (1 + std::exp(-(x + 2.6) / 0.33)) + rise +
                             sigma * noise(generator));
    }
    return curve;
}

RangeTestAnalysis analyse(const TestCurve& curve) {
    return analyse_range_test(curve.lr, curve.loss);
}

TEST(RangeTestAnalysis, suggestion_is_the_steepest_point_and_its_range_surrounds_it) {
    const RangeTestAnalysis a = analyse(logistic(100));
    ASSERT_TRUE(a.suggestion);
    EXPECT_NEAR(std::log10(a.suggestion->lr), -2.6, 0.04);
    // The closed form has 70 % of its slope 0.41 decades to either side; the smoothing widens that
    // a little.
    EXPECT_NEAR(std::log10(a.suggestion->low), -2.6 - 0.5, 0.12);
    EXPECT_NEAR(std::log10(a.suggestion->high), -2.6 + 0.5, 0.12);
    // The steep rise reaches into the flat bottom by up to two deviations of the smoothing.
    EXPECT_NEAR(std::log10(*a.lowest), -1.2 - 0.32, 0.32);
    EXPECT_GT(*a.edge, *a.lowest);
    // The rise passes half of the drop at 10^-0.985.
    EXPECT_NEAR(std::log10(*a.edge), -0.985, 0.1);
    EXPECT_LT(a.sigma, 0.01);
    EXPECT_EQ(a.reason, "");
}

TEST(RangeTestAnalysis, batch_noise_moves_the_suggestion_by_less_than_a_quarter_decade) {
    for (const auto& [sigma, bound] : {std::pair{0.02, 0.03}, {0.1, 0.12}, {0.3, 0.3}}) {
        double squares = 0, estimate = 0;
        for (unsigned seed = 0; seed < 100; ++seed) {
            const RangeTestAnalysis a = analyse(logistic(100, sigma, seed));
            ASSERT_TRUE(a.suggestion) << a.reason;
            squares += std::pow(std::log10(a.suggestion->lr) + 2.6, 2);
            estimate += a.sigma;
        }
        EXPECT_LT(std::sqrt(squares / 100), bound) << sigma;
        EXPECT_NEAR(estimate / 100, sigma, 0.1 * sigma);
    }
}

TEST(RangeTestAnalysis, answer_does_not_depend_on_the_number_of_steps) {
    for (const std::size_t steps : {60u, 100u, 300u, 1000u}) {
        const RangeTestAnalysis a = analyse(logistic(steps));
        EXPECT_NEAR(std::log10(a.suggestion->lr), -2.6, 8.0 / static_cast<double>(steps) + 0.01) << steps;
    }
}

TEST(RangeTestAnalysis, smoothing_does_not_lag) {
    TestCurve step = logistic(101, 0);
    for (std::size_t i = 0; i < 101; ++i) step.loss[i] = i < 50 ? 2.0 : i == 50 ? 1.5 : 1.0;
    const RangeTestAnalysis a = analyse(step);
    EXPECT_NEAR(a.smoothed[50], 1.5, 1e-9);
    for (std::size_t i = 0; i < 50; ++i) EXPECT_NEAR(a.smoothed[i] - 1.5, 1.5 - a.smoothed[100 - i], 1e-9);
}

TEST(RangeTestAnalysis, what_happens_after_the_divergence_changes_nothing) {
    TestCurve curve = logistic(100, 0.05, 3);
    const RangeTestAnalysis before = analyse(curve);
    for (const double wild : {nan_value, infinity, 1e30}) {
        for (std::size_t i = 85; i < 100; ++i) curve.loss[i] = wild;
        const RangeTestAnalysis after = analyse(curve);
        EXPECT_EQ(after.suggestion->lr, before.suggestion->lr);
        EXPECT_EQ(*after.edge, *before.edge);
        EXPECT_TRUE(std::all_of(after.smoothed.begin(), after.smoothed.end(),
                                [](double v) { return std::isfinite(v); }));
    }
    curve.loss[20] = nan_value;  // one bad row in the middle is outvoted by its neighbours
    EXPECT_NEAR(std::log10(analyse(curve).suggestion->lr), std::log10(before.suggestion->lr), 0.1);
}

TEST(RangeTestAnalysis,
     a_quadratic_well_gives_a_rate_below_its_stability_limit_where_fastais_minimum_lies_above) {
    // f(w) = 1 + 5 w^2, diverges above 2/10.
    TestCurve well;
    double w = 1;
    for (int k = 0; k < 95; ++k) {
        well.lr.push_back(1e-4 * std::pow(1e5, k / 100.0));
        well.loss.push_back(1 + 5 * w * w);
        w -= well.lr.back() * 10 * w;
    }
    const RangeTestAnalysis a = analyse_range_test(well.lr, well.loss, {.planned_steps = 100});
    EXPECT_LT(a.suggestion->high, 0.2);
    EXPECT_GT(*a.edge, 0.2);
    EXPECT_GT(*a.fastai.minimum, 0.2);
    EXPECT_LT(*a.auto_lr, 0.2);
}

TEST(RangeTestAnalysis, answer_and_reason_exclude_each_other) {
    for (unsigned seed = 0; seed < 50; ++seed) {
        const RangeTestAnalysis a = analyse(logistic(60, 0.1, seed, seed % 5 * 0.1));
        EXPECT_EQ(a.suggestion.has_value(), a.auto_lr.has_value());
        EXPECT_EQ(a.suggestion.has_value(), a.curve_lr.has_value());
        EXPECT_EQ(a.suggestion.has_value(), a.reason.empty());
    }
}

TEST(RangeTestAnalysis, curves_without_an_answer_say_why) {
    const auto reason = [](std::vector<double> loss) {
        std::vector<double> lr;
        for (std::size_t i = 0; i < loss.size(); ++i)
            lr.push_back(std::pow(10, -7 + 0.1 * static_cast<double>(i)));
        const RangeTestAnalysis a = analyse_range_test(lr, loss);
        EXPECT_FALSE(a.suggestion);
        EXPECT_FALSE(a.auto_lr);
        EXPECT_EQ(a.smoothed.size(), loss.size());
        EXPECT_EQ(a.reason.rfind("no clear descent: ", 0), 0u) << a.reason;
        return a.reason;
    };
    EXPECT_NE(reason({}).find("no points"), std::string::npos);
    EXPECT_NE(reason({2}).find("1 point is too few"), std::string::npos);
    EXPECT_NE(reason({2, 1}).find("2 points are"), std::string::npos);
    EXPECT_NE(reason({2, 1, 0}).find("3 points are"), std::string::npos);
    EXPECT_NE(reason(std::vector<double>(50, nan_value)).find("not a number from the start"),
              std::string::npos);
    reason(std::vector<double>(50, 2.0));
    reason(std::vector<double>(50, 0.0));
    reason(std::vector<double>(50, -1.0));
    std::vector<double> rising;
    for (int i = 0; i < 50; ++i) rising.push_back(1 + i);
    reason(rising);
}

TEST(RangeTestAnalysis, a_clean_descent_is_seen_in_ten_rows_already) {
    for (const int rows : {10, 12, 15, 20}) {
        TestCurve curve;
        for (int k = 0; k < rows; ++k) {
            const double x = -7 + 7.0 * k / (rows - 1);
            curve.lr.push_back(std::pow(10, x));
            curve.loss.push_back(2.3 - 1.6 / (1 + std::exp(-(x + 2.6) / 0.33)));
        }
        const RangeTestAnalysis a = analyse(curve);
        ASSERT_TRUE(a.suggestion) << rows << ": " << a.reason;
        EXPECT_NEAR(std::log10(a.suggestion->lr), -2.6, 7.0 / (rows - 1)) << rows;
    }
}

TEST(RangeTestAnalysis, a_test_that_ends_at_once_is_told_from_a_short_curve) {
    const RangeTestAnalysis a = analyse_range_test({1, 2}, {2.3, 9}, {.planned_steps = 100});
    EXPECT_NE(a.reason.find("--start-lr"), std::string::npos) << a.reason;
    EXPECT_EQ(analyse_range_test({1, 2}, {2.3, 9}).reason.find("--start-lr"), std::string::npos);
}

TEST(RangeTestAnalysis, negative_losses_are_analysed_like_any_others) {
    TestCurve curve = logistic(100);
    for (double& loss : curve.loss) loss -= 10;
    EXPECT_NEAR(std::log10(analyse(curve).suggestion->lr), -2.6, 0.04);
}

TEST(RangeTestAnalysis, a_curve_that_never_rises_has_no_edge) {
    TestCurve curve = logistic(70);  // cut before the rise
    curve.lr.resize(50);
    curve.loss.resize(50);
    const RangeTestAnalysis a = analyse(curve);
    ASSERT_TRUE(a.suggestion);
    EXPECT_FALSE(a.edge);
    EXPECT_TRUE(a.auto_lr);
}

TEST(RangeTestAnalysis, auto_lies_between_the_curve_and_what_is_usual_and_has_two_digits) {
    const TestCurve curve = logistic(100, 0.05, 1);
    const double alone = *analyse(curve).curve_lr;
    for (const double usual : {1e-4, 0.01, 0.03, 1.0}) {
        const RangeTestAnalysis a = analyse_range_test(curve.lr, curve.loss, {.usual_lr = usual});
        EXPECT_EQ(*a.curve_lr, alone) << "the curve does not know what is usual";
        EXPECT_GE(*a.auto_lr, std::min(alone, usual) * 0.95);
        EXPECT_LE(*a.auto_lr, std::max(alone, usual) * 1.05);
        const double mean = a.curve_weight * std::log10(alone) + (1 - a.curve_weight) * std::log10(usual);
        EXPECT_NEAR(std::log10(*a.auto_lr), mean, 0.022) << "two digits";
        EXPECT_EQ(*a.auto_lr, std::stod(fmt::format("{:.2g}", *a.auto_lr)));
    }
    EXPECT_EQ(*analyse_range_test(curve.lr, curve.loss, {.usual_lr = 0.01, .usual_alone = true}).auto_lr,
              0.01);
}

// Every row's noise is drawn anew; the curve ends where a range test would have stopped.
TestCurve noisy(std::size_t steps, double fall, double middle, double width, double turn,
                std::mt19937& generator) {
    constexpr double sigma = 0.08;
    std::normal_distribution<double> noise;
    BlowUpDetector detector;
    TestCurve curve;
    for (std::size_t i = 0; i < steps; ++i) {
        const double x = -7 + 8 * static_cast<double>(i) / static_cast<double>(steps - 1);
        const double rise = x >= turn ? 3 * (std::pow(10, 1.6 * (x - turn)) - 1) : 0;
        curve.lr.push_back(std::pow(10, x));
        curve.loss.push_back(2.3 - fall * sigma / (1 + std::exp(-(x - middle) / width)) + rise +
                             sigma * noise(generator));
        if (detector.add(curve.loss.back())) break;
    }
    return curve;
}

TEST(RangeTestAnalysis, noise_alone_gets_no_number_and_a_descent_of_three_deviations_gets_its_own) {
    std::mt19937 generator(7);
    const auto between = [&](double low, double high) {
        return std::uniform_real_distribution<double>(low, high)(generator);
    };
    int from_noise = 0, found = 0;
    for (int i = 0; i < 400; ++i) {
        const double turn = i % 2 ? 9 : between(-2.5, -0.3);  // with and without a plateau that blows up
        from_noise += analyse(noisy(100, 0, 0, 1, turn, generator)).suggestion.has_value();
        const double middle = between(-4.5, -2), fall = between(3, 6);
        const RangeTestAnalysis a =
            analyse(noisy(100, fall, middle, between(0.1, 0.45), middle + between(1, 2.2), generator));
        found += a.suggestion && std::abs(std::log10(a.suggestion->lr) - middle) < 0.5;
        if (!a.suggestion) continue;
        EXPECT_LE(a.suggestion->low, a.suggestion->lr);
        EXPECT_GE(a.suggestion->high, a.suggestion->lr);
        EXPECT_LT(std::log10(a.suggestion->high / a.suggestion->low), 2.5) << "decades";
    }
    EXPECT_LE(from_noise, 8) << "2 % of 400";
    EXPECT_GE(found, 380) << "95 % of 400, within half a decade";
}

TEST(RangeTestAnalysis, a_smoothed_column_is_taken_as_it_is) {
    const TestCurve curve = logistic(100);
    const RangeTestAnalysis a = analyse_range_test(curve.lr, curve.loss, {.already_smoothed = true});
    EXPECT_EQ(a.smoothed[40], curve.loss[40]);
    EXPECT_NEAR(std::log10(a.suggestion->lr), -2.6, 0.04);
    // fastai's answers on the raw formula, computed by hand in doubles
    EXPECT_NEAR(*a.fastai.valley, 1.58489e-4, 1e-9);
    EXPECT_NEAR(*a.fastai.slide, 6.91831e-6, 1e-11);
    EXPECT_NEAR(*a.fastai.minimum, 5.7544e-3, 1e-7);
}

TEST(RangeTestAnalysis, rates_that_do_not_rise_are_a_data_error_naming_the_row) {
    const auto message = [](std::vector<double> lr, std::vector<double> loss) -> std::string {
        try {
            analyse_range_test(lr, loss);
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::data);
            return error.what();
        }
        return "accepted";
    };
    for (const double bad : {0.0, -1.0, 1e-3, 1e-4, nan_value, infinity})
        EXPECT_NE(message({1e-3, bad, 1}, {1, 1, 1}).find("row 2"), std::string::npos) << bad;
    EXPECT_NE(message({1, 2, 3}, {1, 1}).find("row 3"), std::string::npos);
}

TEST(BlowUpDetector, stops_when_the_median_of_seven_passes_twice_the_start_or_at_once_when_not_finite) {
    BlowUpDetector calm;
    for (int i = 0; i < 1000; ++i)
        EXPECT_FALSE(calm.add(i % 3 == 0 ? 9.0 : 2.0)) << "single spikes are noise";
    BlowUpDetector lost;
    for (int i = 0; i < 20; ++i) EXPECT_FALSE(lost.add(2.0));
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(lost.add(4.5));
    EXPECT_TRUE(lost.add(4.5)) << "four of seven above twice the start";
    EXPECT_TRUE(BlowUpDetector().add(nan_value));
    EXPECT_TRUE(BlowUpDetector().add(infinity));
    BlowUpDetector negative;
    for (int i = 0; i < 50; ++i) EXPECT_FALSE(negative.add(-3.0));
}

TEST(BlowUp, of_a_whole_curve_is_that_of_its_losses_one_by_one) {
    std::vector<double> loss(20, 2.0);
    loss.insert(loss.end(), 4, 4.5);
    for (std::size_t rows = 0; rows <= loss.size(); ++rows)
        EXPECT_EQ(has_blown_up({loss.begin(), loss.begin() + static_cast<std::ptrdiff_t>(rows)}),
                  rows == loss.size());
    EXPECT_TRUE(has_blown_up({2.0, nan_value, 2.0}));
}

}  // namespace
}  // namespace onecycle
