// The words and pictures of range tests and sweeps.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "onecycle/report.h"
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

constexpr auto training = FindContext::Origin::training;

// With what is usual, as a range test of a network has it.
RangeTestAnalysis with_usual(double usual, bool alone = false) {
    const RangeTestAnalysis a = range_test_around(-2.6, 0.02, 1).analysis;
    return analyse_range_test(a.lr, a.loss, {.usual_lr = usual, .usual_alone = alone});
}

std::string all_of(const RangeTestAnalysis& a, const FindContext& context) {
    std::string text = find_sentence(a, context);
    for (const std::string& line : find_reasons(a, context)) text += "\n" + line;
    return text;
}

bool says(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

TEST(FindSentence, leads_with_the_rate_for_one_cycle_and_tells_what_the_other_points_are) {
    const RangeTestAnalysis a = with_usual(0.02);
    const FindContext context{.origin = training, .updates = 600};
    const std::string rate = short_number(*a.auto_lr);
    EXPECT_EQ(find_sentence(a, context),
              "Train with one cycle up to " + rate + " (--max-lr " + rate + ", what auto takes).");
    const std::string text = all_of(a, context);
    for (const double told :
         {a.suggestion->lr, a.suggestion->low, a.suggestion->high, *a.lowest, *a.curve_lr, 0.02})
        EXPECT_TRUE(says(text, short_number(told))) << told << "\n" << text;
    EXPECT_TRUE(says(text, fmt::format("counts for {} %", std::lround(100 * a.curve_weight)))) << text;
    EXPECT_TRUE(says(text, "falls fastest at " + short_number(a.suggestion->lr))) << text;
}

TEST(FindSentence, a_saved_curve_is_told_without_a_word_about_a_network_that_is_not_known) {
    const RangeTestAnalysis alone = range_test_around(-2.6, 0.02, 1).analysis;
    EXPECT_TRUE(says(all_of(alone, {}), "from the curve alone")) << all_of(alone, {});
    for (const std::string& text :
         {all_of(alone, {}), all_of(with_usual(0.02), {}), find_sentence(without_descent())})
        for (const char* word : {"network", "optimizer", "batch size", "auto", "train "})
            EXPECT_FALSE(says(text, word)) << word << "\n" << text;
}

// Its answer need not be the one that train finds by its own test.
TEST(FindSentence, a_test_with_steps_of_its_own_does_not_speak_for_auto) {
    EXPECT_FALSE(says(find_sentence(with_usual(0.02), {.origin = FindContext::Origin::test}), "auto"));
}

TEST(FindSentence, without_a_descent_it_tells_the_reason_and_which_rate_remains) {
    RangeTestAnalysis a = without_descent();
    EXPECT_EQ(find_sentence(a), "N" + a.reason.substr(1) + ".");
    EXPECT_TRUE(find_reasons(a).empty());
    EXPECT_FALSE(rate_to_train_with(a, {}));
    a.usual_lr = 0.012;
    EXPECT_EQ(rate_to_train_with(a, {.origin = training}), 0.012);
    const std::string text = find_sentence(a, {.origin = training});
    EXPECT_EQ(text.rfind("No clear descent: ", 0), 0u);
    EXPECT_TRUE(says(text, "train takes 0.012 (--max-lr 0.012), usual for such a network")) << text;
}

TEST(FindSentence, a_training_shorter_than_its_test_takes_what_is_usual) {
    const RangeTestAnalysis a = with_usual(0.02, true);
    const FindContext context{.origin = training, .updates = 60};
    EXPECT_TRUE(shorter_than_test(context));
    EXPECT_FALSE(shorter_than_test({.origin = training, .updates = 100}));
    EXPECT_FALSE(shorter_than_test({.origin = training}));
    EXPECT_EQ(rate_to_train_with(a, context), 0.02);
    const std::string text = all_of(a, context);
    EXPECT_EQ(text.rfind("Train with one cycle up to 0.02 (--max-lr 0.02, what auto takes): it is usual", 0),
              0u)
        << text;
    EXPECT_TRUE(says(text, "60 steps is shorter than its range test of 100")) << text;
    EXPECT_FALSE(says(text, "counts for")) << text;
    const auto j = nlohmann::json::parse(find_json(a, context));
    EXPECT_EQ(j["auto_lr"], 0.02);
    EXPECT_EQ(j["prior"], 0.02);
}

TEST(FindSentence, before_a_later_stage_only_the_edge_counts) {
    RangeTestAnalysis a = with_usual(0.02);
    const FindContext context{.origin = FindContext::Origin::stage, .updates = 600};
    EXPECT_FALSE(rate_to_train_with(a, context));
    EXPECT_TRUE(says(all_of(a, context), short_number(*a.edge)));
    EXPECT_FALSE(says(all_of(a, context), short_number(*a.auto_lr)));
    a.edge = {};
    EXPECT_TRUE(says(find_sentence(a, context), "keeps its rate"));
}

TEST(FindPlot, keeps_to_its_width_in_plain_unicode_whatever_the_width) {
    for (const auto& a : {range_test_around(-2.6, 0.05, 1).analysis, without_descent(),
                          analyse_range_test({1e-3}, {2}), analyse_range_test({1e-3, 1e-2}, {NAN, NAN}),
                          analyse_range_test({1e-3, 1e-2, 1e-1}, {1, 1e300, INFINITY})})
        for (int width = 40; width <= 200; width += 7)
            for (const std::string& line : lines_of(find_plot(a, {}, width))) {
                EXPECT_LE(columns(line), width) << line;
                EXPECT_EQ(line.find('\x1b'), std::string::npos);
            }
    EXPECT_EQ(find_plot(analyse_range_test({}, {})), "");
    EXPECT_EQ(find_plot(without_descent(), {}, 3), find_plot(without_descent(), {}, 40));
}

TEST(FindPlot, marks_stand_at_their_rates) {
    const RangeTestAnalysis a = range_test_around(-2.6, 0.0, 1).analysis;
    const std::string plot = find_plot(a);
    const double x0 = std::log10(a.lr.front()), x1 = std::log10(a.lr.back());
    const auto column = [&](double rate) { return 8 + (std::log10(rate) - x0) / (x1 - x0) * 71; };
    const std::pair<const char*, double> marks[] = {
        {"★", *a.auto_lr}, {"◆", a.suggestion->lr}, {"▽", *a.lowest}};
    int brackets = 0, edge = 0, on_curve[3] = {}, below[3] = {};
    for (const std::string& line : lines_of(plot)) {
        const bool curve = column_of(line, "│") == 7 || column_of(line, "┤") == 7;
        const bool bracket = column_of(line, "├") > 8 && column_of(line, "steepest") < 0;
        for (int i = 0; i < 3; ++i) {
            if (!(curve || bracket) || column_of(line, marks[i].first) < 0) continue;
            ++(curve ? on_curve : below)[i];
            EXPECT_NEAR(column_of(line, marks[i].first), column(marks[i].second), 1) << line;
        }
        if (bracket) {
            ++brackets;
            EXPECT_NEAR(column_of(line, "├"), column(a.suggestion->low), 1);
            EXPECT_NEAR(column_of(line, "┤"), column(a.suggestion->high), 1);
        }
        if (curve && column_of(line, "┊") > 0) {
            ++edge;
            EXPECT_NEAR(column_of(line, "┊"), column(*a.edge), 1);
        }
    }
    EXPECT_EQ(brackets, 1);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(on_curve[i] + below[i], 2) << marks[i].first << "\n" << plot;
    EXPECT_GT(edge, 5);
}

// The usual rate where the curve gives none; beyond the curve's end it is told, not drawn.
TEST(FindPlot, shows_the_rate_to_train_with_also_without_a_descent) {
    RangeTestAnalysis a = without_descent();
    EXPECT_FALSE(says(find_plot(a), "★"));
    for (const auto& [usual, times] : {std::pair(1e-4, 3), std::pair(5.0, 1)}) {
        a.usual_lr = usual;
        const std::string plot = find_plot(a, {.origin = training});
        int seen = 0;
        for (std::size_t at = plot.find("★"); at != std::string::npos; at = plot.find("★", at + 1)) ++seen;
        EXPECT_EQ(seen, times) << plot;
        EXPECT_TRUE(says(plot, "★ one cycle up to " + short_number(usual))) << plot;
    }
}

TEST(FindSvg, is_well_formed_finite_and_the_same_every_time) {
    for (const auto& a :
         {range_test_around(-2.6, 0.05, 1).analysis, without_descent(), analyse_range_test({}, {}),
          analyse_range_test({1e-3}, {2}), analyse_range_test({1e-3, 1e-2}, {NAN, INFINITY}),
          analyse_range_test({1e-3, 1e-2, 1e-1}, {1, 1e300, -1e300})}) {
        const FindContext context{.origin = training, .subject = "R&D <test> \"x\""};
        const std::string svg = find_svg(a, context);
        expect_well_formed(svg);
        EXPECT_EQ(svg, find_svg(a, context));
        EXPECT_NE(svg.find("Range test: R&amp;D &lt;test&gt; "), std::string::npos);
    }
}

TEST(FindSvg, is_readable_on_light_and_on_dark_ground) {
    const std::string svg = find_svg(range_test_around(-2.6, 0.05, 1).analysis);
    EXPECT_NE(svg.find("@media (prefers-color-scheme:dark)"), std::string::npos);
    for (const char* part :
         {"one cycle up to 0.0", "steepest 0.00", "lowest 0.0", "diverges from 0.0", "nearly as steep"})
        EXPECT_NE(svg.find(part), std::string::npos) << part;
}

TEST(FindSvg, no_heading_runs_out_of_the_picture) {
    const std::string svg = find_svg(without_descent(), {.subject = std::string(300, 'n')});
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
    EXPECT_EQ(lines_of(table).size(), 7u) << table;
    EXPECT_NE(lines_of(table)[3].find("use this"), std::string::npos) << table;
    EXPECT_NE(lines_of(table)[2].find("no visible difference"), std::string::npos) << table;
    EXPECT_LT(lines_of(table)[0].find("auto"), lines_of(table)[0].find("steepest"));
    EXPECT_TRUE(says(lines_of(table)[4], short_number(*results[3].test.analysis.auto_lr))) << table;
    EXPECT_TRUE(says(lines_of(table)[5], "0.001 differs from 0; 1e-5")) << table;
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

// Seen on real curves: edges a factor of two apart on curves whose losses differ less than the
// noise.
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

RateTrial trial(double lr, std::int64_t correct, std::int64_t n) {
    const double accuracy = static_cast<double>(correct) / static_cast<double>(n);
    return {.lr = lr,
            .updates = 100,
            .valid_loss = 1 - accuracy,
            .accuracy = accuracy,
            .interval = wilson_interval(correct, n),
            .n = n};
}

TEST(Trials, stand_at_a_third_of_the_rate_itself_and_three_times_it) {
    EXPECT_EQ(trial_rates(0.017), (std::vector<double>{0.0057, 0.017, 0.051}));
    EXPECT_EQ(trial_rates(0.001), (std::vector<double>{0.00033, 0.001, 0.003}));
}

// Newcombe 1998, table II, example (a): 56/70 and 48/80 differ by 0.2, from 0.0524 on; so 50/70 is
// not clearly better.
TEST(Trials, another_rate_is_better_only_beyond_the_noise_of_the_evaluation) {
    const TrialVerdict better =
        judge_trials(0.01, {trial(0.003, 48, 80), trial(0.01, 48, 80), trial(0.03, 56, 70)});
    EXPECT_EQ(better.better, 0.03);
    EXPECT_TRUE(says(better.advice, "train with --max-lr 0.03.")) << better.advice;
    const TrialVerdict same =
        judge_trials(0.01, {trial(0.003, 48, 80), trial(0.01, 48, 80), trial(0.03, 50, 70)});
    EXPECT_FALSE(same.better);
    EXPECT_TRUE(says(same.advice, "0.01 holds")) << same.advice;
}

TEST(Trials, of_two_better_rates_the_best_is_advised_and_divergence_is_worse_than_all) {
    const RateTrial diverged{.lr = 0.03, .updates = 100};
    EXPECT_EQ(judge_trials(0.01, {trial(0.003, 90, 100), trial(0.01, 40, 100), trial(0.03, 95, 100)}).better,
              0.03);
    EXPECT_EQ(judge_trials(0.03, {trial(0.01, 20, 100), diverged, {.lr = 0.09}}).better, 0.01);
    EXPECT_FALSE(judge_trials(0.01, {trial(0.003, 50, 100), trial(0.01, 50, 100), diverged}).better);
    const TrialVerdict none = judge_trials(0.03, {{.lr = 0.01}, diverged, {.lr = 0.09}});
    EXPECT_FALSE(none.better);
    EXPECT_TRUE(says(none.advice, "All of them diverge")) << none.advice;
}

TEST(Trials, table_and_json_tell_each_of_them) {
    const std::vector<RateTrial> trials = {
        trial(0.003, 50, 100), trial(0.01, 55, 100), {.lr = 0.03, .updates = 100}};
    const auto lines = lines_of(trial_table(0.01, trials));
    ASSERT_EQ(lines.size(), 5u);
    EXPECT_TRUE(says(lines[2], "★") && says(lines[2], "55.0 %")) << lines[2];
    EXPECT_TRUE(says(lines[3], "diverged")) << lines[3];
    const RangeTestResult test = range_test_around(-2.6, 0.02, 1);
    EXPECT_FALSE(nlohmann::json::parse(find_json(test)).contains("verify"));
    const auto verify = nlohmann::json::parse(find_json(test, {}, trials))["verify"];
    ASSERT_EQ(verify.size(), 3u);
    EXPECT_EQ(verify[1]["lr"], 0.01);
    EXPECT_EQ(verify[1]["accuracy"], 0.55);
    EXPECT_EQ(verify[1]["valid_loss"], 1 - 0.55);
    EXPECT_TRUE(verify[2]["accuracy"].is_null() && verify[2]["valid_loss"].is_null());
}

}  // namespace
}  // namespace onecycle
