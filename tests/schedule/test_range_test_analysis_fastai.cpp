// fastai's smoothing and its four suggestion rules, against fastai run for real
// (tests/reference/generate_fastai_rules.py) and against hand-computed cases.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "onecycle/range_test.h"

namespace onecycle {
namespace {

std::vector<double> column(const nlohmann::json& values) {
    std::vector<double> out;
    for (const auto& value : values)
        out.push_back(value.is_string() ? std::stod(value.get<std::string>()) : value.get<double>());
    return out;
}

void expect_rate(const std::optional<double>& got, const nlohmann::json& want) {
    ASSERT_EQ(got.has_value(), !want.is_null());
    if (!got) return;
    EXPECT_NEAR(*got, want.get<double>(), 1e-6 * want.get<double>());  // fastai's rates are float32
}

TEST(FastaiRules, equal_fastai_run_for_real) {
    std::ifstream file(ONECYCLE_TEST_DATA "/fastai_rules.json");
    const auto cases = nlohmann::json::parse(file);
    ASSERT_GE(cases.size(), 18u);
    for (const auto& c : cases) {
        SCOPED_TRACE(c.at("name").get<std::string>());
        const std::vector<double> lr = column(c.at("lr")), loss = column(c.at("loss"));
        const std::vector<double> smoothed = c.at("raw") ? loss : fastai_smooth(loss);
        if (!c.at("raw")) {
            const std::vector<double> want = column(c.at("smoothed"));
            ASSERT_EQ(smoothed.size(), want.size());
            for (std::size_t i = 0; i < want.size(); ++i) {
                EXPECT_EQ(std::isnan(smoothed[i]), std::isnan(want[i])) << i;
                if (!std::isfinite(want[i])) continue;
                EXPECT_NEAR(smoothed[i], want[i], 3e-6 * std::abs(want[i])) << i;
            }
        }
        const FastaiRules rules = fastai_rules(lr, smoothed, c.at("planned"));
        expect_rate(rules.valley, c.at("valley"));
        expect_rate(rules.slide, c.at("slide"));
        expect_rate(rules.minimum, c.at("minimum"));
        // Where several neighbours fall equally fast, rounding decides: fastai's float32 there,
        // double here.
        if (!c.at("steep_is_a_tie")) expect_rate(rules.steep, c.at("steep"));
    }
}

TEST(FastaiRules, smoothing_gives_the_hand_computed_values) {
    const std::vector<double> loss = {2.3, 2.2, 2.1, 9.0};
    const std::vector<double> slow = {2.3, 2.24949495, 2.19865324, 3.95085872};
    const std::vector<double> fast = {2.3, 2.24736842, 2.19298893, 4.17234661};
    for (std::size_t i = 0; i < 4; ++i) {
        EXPECT_NEAR(fastai_smooth(loss)[i], slow[i], 1e-8);
        EXPECT_NEAR(fastai_smooth(loss, 0.9)[i], fast[i], 1e-8);
    }
}

TEST(FastaiRules, steepest_of_equal_falls_is_decided_in_double) {
    std::vector<double> lr, loss = {2.30, 2.31, 2.30, 2.28, 2.22, 2.05, 1.80, 1.55, 1.45, 1.50, 2.00, 4.00};
    for (int i = 0; i < 17; ++i) lr.push_back(std::pow(10, -6 + i / 2.0));
    loss.resize(17, 9.0);  // the trim drops these five
    const FastaiRules rules = fastai_rules(lr, loss, 0);
    EXPECT_NEAR(*rules.steep, 1e-3, 1e-12);
    EXPECT_NEAR(*rules.valley, 3.16227766e-5, 1e-12);
}

// argmin of numpy and torch: inf - inf is NaN, and NaN wins.
TEST(FastaiRules, steep_between_infinite_losses_is_where_argmin_finds_it) {
    std::vector<double> lr, loss(20, 1.0);
    for (int i = 0; i < 20; ++i) lr.push_back(std::pow(10, -5 + i / 4.0));
    loss[7] = 0.5;
    loss[10] = loss[11] = loss[12] = INFINITY;
    EXPECT_EQ(*fastai_rules(lr, loss, 0).steep, lr[10]);
}

TEST(FastaiRules, a_curve_shorter_than_the_trim_has_no_answers) {
    for (std::size_t n = 0; n < 6; ++n) {
        const std::vector<double> lr(n, 1.0), loss(n, 1.0);
        const FastaiRules rules = fastai_rules(lr, loss, 100);
        EXPECT_FALSE(rules.valley || rules.slide || rules.minimum || rules.steep) << n;
    }
}

}  // namespace
}  // namespace onecycle
