// The words and pictures of range tests and sweeps.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "onecycle/find_report.h"
#include "report/curves.h"
#include "report/text.h"
#include "report/well_formed.h"

namespace onecycle {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
}

// The column (from 0) at which `symbol` stands in a line, or -1.
int column_of(const std::string& line, const std::string& symbol) {
    const std::size_t at = line.find(symbol);
    return at == std::string::npos ? -1 : columns(line.substr(0, at));
}

// Values 0, 1e-5, 1e-4, 1e-3, whose curves lie around the given middles.
std::vector<SweepResult> sweep(const std::vector<double>& middles, double sigma) {
    const double values[] = {0, 1e-5, 1e-4, 1e-3};
    std::vector<SweepResult> results;
    for (std::size_t i = 0; i < middles.size(); ++i)
        results.push_back({values[i], range_test_around(middles[i], sigma, 7)});
    return results;
}

TEST(FindSentence, names_the_rate_its_range_and_why_not_the_lowest_point) {
    const RangeTestAnalysis a = range_test_around(-2.6, 0.02, 1).analysis;
    const std::string text = find_sentence(a);
    for (const double rate : {a.suggestion->lr, a.suggestion->low, a.suggestion->high, *a.lowest, *a.auto_lr})
        EXPECT_NE(text.find(short_number(rate)), std::string::npos) << text;
    EXPECT_EQ(lines_of(text).size(), 1u);
    EXPECT_EQ(find_sentence(without_descent()).rfind("No clear descent: ", 0), 0u);
}

// Half-way to the edge can lie above the lowest point, so the sentence must not call it better than a rate
// that it has just warned of.
TEST(FindSentence, the_peak_of_one_cycle_is_told_apart_from_the_rate_to_use) {
    RangeTestAnalysis a = range_test_around(-2.6, 0.02, 1).analysis;
    a.auto_lr = *a.lowest * 1.5;
    const std::string text = find_sentence(a);
    const std::size_t peak = text.find("Only the short peak of one-cycle may go higher");
    ASSERT_NE(peak, std::string::npos) << text;
    EXPECT_GT(text.find(short_number(*a.auto_lr)), peak);
    a.auto_lr = a.suggestion->lr;
    EXPECT_EQ(find_sentence(a).find("peak"), std::string::npos);
}

TEST(FindPlot, keeps_to_its_width_in_plain_unicode_whatever_the_width) {
    for (const auto& a : {range_test_around(-2.6, 0.05, 1).analysis, without_descent(),
                          analyse_range_test({1e-3}, {2}), analyse_range_test({1e-3, 1e-2}, {NAN, NAN}),
                          analyse_range_test({1e-3, 1e-2, 1e-1}, {1, 1e300, INFINITY})})
        for (int width = 40; width <= 200; width += 7)
            for (const std::string& line : lines_of(find_plot(a, width))) {
                EXPECT_LE(columns(line), width) << line;
                EXPECT_EQ(line.find('\x1b'), std::string::npos);
            }
    EXPECT_EQ(find_plot(analyse_range_test({}, {})), "");
    EXPECT_EQ(find_plot(without_descent(), 3), find_plot(without_descent(), 40));
}

TEST(FindPlot, marks_stand_at_their_rates) {
    const RangeTestAnalysis a = range_test_around(-2.6, 0.0, 1).analysis;
    const std::string plot = find_plot(a, 80);
    const double x0 = std::log10(a.lr.front()), x1 = std::log10(a.lr.back());
    const auto column = [&](double rate) { return 8 + (std::log10(rate) - x0) / (x1 - x0) * 71; };
    int brackets = 0, steepest = 0, edge = 0;
    for (const std::string& line : lines_of(plot)) {
        if (line.rfind("        ", 0) != 0 && column_of(line, "◆") >= 0) {  // on the curve
            ++steepest;
            EXPECT_NEAR(column_of(line, "◆"), column(a.suggestion->lr), 1);
        }
        if (column_of(line, "├") > 8 && column_of(line, "steepest") < 0) {
            ++brackets;
            EXPECT_NEAR(column_of(line, "├"), column(a.suggestion->low), 1);
            EXPECT_NEAR(column_of(line, "◆"), column(a.suggestion->lr), 1);
            EXPECT_NEAR(column_of(line, "┤"), column(a.suggestion->high), 1);
        }
        if (column_of(line, "│") == 7 && column_of(line, "┊") > 0) {
            ++edge;
            EXPECT_NEAR(column_of(line, "┊"), column(*a.edge), 1);
        }
    }
    EXPECT_EQ(brackets, 1);
    EXPECT_EQ(steepest, 1);
    EXPECT_GT(edge, 5);
}

TEST(FindSvg, is_well_formed_finite_and_the_same_every_time) {
    for (const auto& a :
         {range_test_around(-2.6, 0.05, 1).analysis, without_descent(), analyse_range_test({}, {}),
          analyse_range_test({1e-3}, {2}), analyse_range_test({1e-3, 1e-2}, {NAN, INFINITY}),
          analyse_range_test({1e-3, 1e-2, 1e-1}, {1, 1e300, -1e300})}) {
        const std::string svg = find_svg(a, "R&D <test> \"x\"");
        expect_well_formed(svg);
        EXPECT_EQ(svg, find_svg(a, "R&D <test> \"x\""));
    }
}

TEST(FindSvg, is_readable_on_light_and_on_dark_ground) {
    const std::string svg = find_svg(range_test_around(-2.6, 0.05, 1).analysis);
    EXPECT_NE(svg.find("@media (prefers-color-scheme:dark)"), std::string::npos);
    for (const char* part : {"steepest 0.00", "lowest 0.0", "diverges from 0.0", "good range"})
        EXPECT_NE(svg.find(part), std::string::npos) << part;
}

TEST(FindSvg, no_heading_runs_out_of_the_picture) {
    const std::string svg = find_svg(without_descent());
    std::size_t lines = 0;
    for (const std::string& line : lines_of(svg)) {
        if (line.rfind("<text x=\"80\" y=\"", 0) != 0) continue;
        const std::string text = line.substr(line.find('>') + 1);
        EXPECT_LE(columns(text), 105) << text;
        ++lines;
    }
    EXPECT_GE(lines, 2u);
    expect_well_formed(svg);
}

TEST(Sweep, advises_the_largest_decay_that_still_allows_a_high_rate) {
    const auto results = sweep({-2.6, -2.6, -2.65, -3.6}, 0.02);
    const SweepVerdict verdict = judge_sweep(SweepParameter::weight_decay, results);
    EXPECT_TRUE(verdict.visible_difference);
    EXPECT_EQ(verdict.best, 2) << verdict.advice;
    EXPECT_TRUE(verdict.like_first[1]);
    EXPECT_FALSE(verdict.like_first[3]);
    EXPECT_NE(verdict.advice.find("--weight-decay 0.0001"), std::string::npos) << verdict.advice;
    const std::string table = sweep_table(SweepParameter::weight_decay, results);
    EXPECT_EQ(lines_of(table).size(), 6u) << table;
    EXPECT_NE(lines_of(table)[3].find("use this"), std::string::npos) << table;
    EXPECT_NE(lines_of(table)[2].find("no visible difference"), std::string::npos) << table;
}

TEST(Sweep, curves_that_differ_less_than_the_noise_get_no_visible_difference) {
    auto results = sweep({-2.6, -2.6}, 0.05);
    results[1].test = range_test_around(-2.6, 0.05, 8);  // the same curve with other noise
    for (const auto parameter :
         {SweepParameter::weight_decay, SweepParameter::momentum, SweepParameter::batch_size}) {
        const SweepVerdict verdict = judge_sweep(parameter, results);
        EXPECT_FALSE(verdict.visible_difference);
        EXPECT_EQ(verdict.best, -1);
        EXPECT_NE(verdict.advice.find("no visible difference"), std::string::npos) << verdict.advice;
    }
}

// Seen on real curves: edges a factor of two apart on curves whose losses differ less than the noise.
TEST(Sweep, edges_that_differ_by_chance_alone_are_no_visible_difference) {
    auto results = sweep({-2.6, -2.6}, 0.05);
    RangeTestAnalysis& other = results[1].test.analysis;
    ASSERT_TRUE(other.edge);
    other.edge = *other.edge * 2;
    EXPECT_FALSE(judge_sweep(SweepParameter::weight_decay, results).visible_difference);
    other.edge = {};
    EXPECT_FALSE(judge_sweep(SweepParameter::weight_decay, results).visible_difference);
}

TEST(Sweep, a_curve_that_learns_is_told_from_one_that_does_not) {
    auto results = sweep({-2.6, -2.6}, 0.02);
    results[1].test.analysis =
        analyse_range_test(results[0].test.lr, std::vector(results[0].test.lr.size(), 2.3));
    const SweepVerdict verdict = judge_sweep(SweepParameter::momentum, results);
    EXPECT_TRUE(verdict.visible_difference);
    EXPECT_EQ(verdict.best, 0);
}

TEST(Sweep, without_any_descent_nothing_is_advised) {
    std::vector<SweepResult> results(2);
    for (SweepResult& result : results) result.test.analysis = without_descent();
    const SweepVerdict verdict = judge_sweep(SweepParameter::momentum, results);
    EXPECT_EQ(verdict.best, -1);
    EXPECT_NE(verdict.advice.find("clear descent"), std::string::npos);
    EXPECT_EQ(judge_sweep(SweepParameter::momentum, {}).best, -1);
}

TEST(Sweep, plot_and_picture_show_every_curve) {
    const auto results = sweep({-2.6, -2.6, -2.7, -3.6}, 0.02);
    const std::string plot = sweep_plot(SweepParameter::weight_decay, results, 72);
    for (const std::string& line : lines_of(plot)) EXPECT_LE(columns(line), 72);
    // Equal curves take turns, so that neither hides the other.
    for (const char* mark : {"●", "△", "■", "◇"}) {
        int seen = 0;
        for (std::size_t at = plot.find(mark); at != std::string::npos; at = plot.find(mark, at + 1)) ++seen;
        EXPECT_GE(seen, 10) << mark;
    }
    expect_well_formed(sweep_svg(SweepParameter::weight_decay, results));
    expect_well_formed(sweep_svg(SweepParameter::weight_decay, {}));
    EXPECT_EQ(sweep_plot(SweepParameter::weight_decay, {}), "");
    const auto j = nlohmann::json::parse(sweep_json(SweepParameter::weight_decay, results));
    EXPECT_EQ(j["parameter"], "weight-decay");
    EXPECT_EQ(j["curves"].size(), 4u);
    EXPECT_EQ(j["curves"][3]["value"], 1e-3);
    EXPECT_EQ(j["curves"][3]["suggestion"]["lr"], results[3].test.analysis.suggestion->lr);
}

}  // namespace
}  // namespace onecycle
