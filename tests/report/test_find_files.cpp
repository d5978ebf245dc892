// Saved curves: what is read, what is refused, and that nothing is lost on the way out and in
// again.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "onecycle/error.h"
#include "onecycle/report.h"
#include "report/curves.h"

namespace onecycle {
namespace {

using nlohmann::json;

std::string refusal(const std::string& text) {
    try {
        parse_curve_csv(text, "curve.csv");
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::data);
        return error.what();
    }
    return "accepted";
}

TEST(CurveCsv, columns_stand_in_any_order_among_others_in_every_common_dialect) {
    const LossCurve plain = parse_curve_csv("lr,loss\n0.1,2\n0.2,1.5\n", "x");
    EXPECT_EQ(plain.lr, (std::vector<double>{0.1, 0.2}));
    EXPECT_EQ(plain.loss, (std::vector<double>{2, 1.5}));
    const LossCurve odd = parse_curve_csv(
        "\xEF\xBB\xBFnote, \"loss\" ,smoothed,lr\r\n\"a\",+2,,1e-1\r\n\r\n b , 1.5 , 7 , 2e-1 ", "x");
    EXPECT_EQ(odd.lr, plain.lr);
    EXPECT_EQ(odd.loss, plain.loss);
}

TEST(CurveCsv, losses_may_be_nan_infinite_or_missing) {
    const LossCurve curve = parse_curve_csv("lr,loss\n1,nan\n2,NaN\n3,inf\n4,-inf\n5,Infinity\n6,\n", "x");
    EXPECT_TRUE(std::isnan(curve.loss[0]) && std::isnan(curve.loss[1]) && std::isnan(curve.loss[5]));
    EXPECT_EQ(curve.loss[2], INFINITY);
    EXPECT_EQ(curve.loss[3], -INFINITY);
    EXPECT_EQ(curve.loss[4], INFINITY);
}

TEST(CurveCsv, malformed_text_is_refused_naming_file_and_line) {
    const std::pair<const char*, const char*> cases[] = {
        {"", "line 1"},
        {"\n\n", "line 1"},
        {"lr,loss\n", "line 1"},
        {"1,2\n3,4\n", "no column \"lr\""},
        {"lr,value\n1,2\n", "no column \"loss\""},
        {"lr,loss\n1,2\n2\n", "line 3"},
        {"lr,loss\n\n1,2\n2,abc\n", "line 4: \"abc\" is not a number"},
        {"lr,loss\n1,2\n2,1.5x\n", "line 3"},
        {"lr,loss\n1;2\n", "line 2"},
        {"lr,loss\n1,2\n1,2\n", "line 3: the rate is not above the one before"},
        {"lr,loss\n2,2\n1,2\n", "line 3"},
        {"lr,loss\n0,2\n", "line 2: the rate is not a number above 0"},
        {"lr,loss\n-1,2\n", "line 2"},
        {"lr,loss\n,2\n", "line 2"},
        {"lr,loss\nnan,2\n", "line 2"},
        {"lr,loss\ninf,2\n", "line 2"},
        {"\x89PNG\r\n\x1a\n", "line 1"},
    };
    for (const auto& [text, part] : cases) {
        const std::string message = refusal(text);
        EXPECT_NE(message.find(part), std::string::npos) << text << "\n" << message;
        EXPECT_NE(message.find("curve.csv line"), std::string::npos) << message;
        EXPECT_NE(message.find("; fix: "), std::string::npos) << message;
    }
}

TEST(CurveCsv, a_file_that_is_not_there_is_an_input_output_error) {
    try {
        read_curve_csv("no/such/curve.csv");
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.exit_code(), 5);
    }
}

TEST(FindFiles, the_csv_read_back_gives_the_same_analysis_to_the_last_bit) {
    RangeTestAnalysis a = range_test_around(-2.6, 0.05, 1).analysis;
    a.loss.back() = NAN;
    a = analyse_range_test(a.lr, a.loss);
    const std::string csv = find_csv(a);
    EXPECT_EQ(csv.substr(0, 31), "lr,loss,smoothed,usual,updates\n");
    const LossCurve curve = parse_curve_csv(csv, "find.csv");
    EXPECT_FALSE(curve.usual_lr);
    EXPECT_EQ(curve.updates, 0);
    EXPECT_EQ(find_csv(analyse_range_test(curve.lr, curve.loss)), csv);
}

TEST(FindFiles, a_saved_curve_gives_the_answer_of_the_run_that_saved_it) {
    const RangeTestAnalysis bare = range_test_around(-2.6, 0.05, 1).analysis;
    const auto answer = [&](const std::vector<double>& loss, double usual, const FindContext& context) {
        return analyse_range_test(bare.lr, loss,
                                  {.usual_lr = usual, .usual_alone = shorter_than_test(context)});
    };
    for (const double usual : {0.012, 0.1 / 3})
        for (const std::int64_t updates : {60, 600}) {
            const FindContext context{.origin = FindContext::Origin::training, .updates = updates};
            const RangeTestAnalysis a = answer(bare.loss, usual, context);
            const LossCurve curve = parse_curve_csv(find_csv(a, context), "find.csv");
            EXPECT_EQ(curve.usual_lr, usual);
            EXPECT_EQ(curve.updates, updates);
            const FindContext known{.updates = curve.updates};
            const json saved = json::parse(find_json(a, context)),
                       read = json::parse(find_json(answer(curve.loss, *curve.usual_lr, known), known));
            for (const char* field :
                 {"suggestion", "auto_lr", "prior", "curve_lr", "usual_lr", "lowest", "edge"})
                EXPECT_EQ(saved[field], read[field]) << field;
            EXPECT_EQ(saved["prior"].is_null(), updates == 600);
        }
}

// Another program's column of that name is none of ours.
TEST(CurveCsv, a_usual_rate_is_known_only_where_the_same_number_stands_in_every_row) {
    EXPECT_EQ(parse_curve_csv("lr,loss,usual\n1,2,0.5\n2,1,0.5\n", "x").usual_lr, 0.5);
    for (const char* text :
         {"lr,loss\n1,2\n2,1\n", "lr,loss,usual\n1,2,\n2,1,\n", "lr,loss,usual\n1,2,1\n2,1,2\n",
          "lr,loss,usual\n1,2,yes\n2,1,yes\n", "lr,loss,usual\n1,2,-1\n2,1,-1\n",
          "lr,loss,usual\n1,2,inf\n2,1,inf\n", "lr,loss,usual,updates\n1,2\n2,1\n"}) {
        const LossCurve curve = parse_curve_csv(text, "x");
        EXPECT_FALSE(curve.usual_lr) << text;
        EXPECT_EQ(curve.updates, 0) << text;
        EXPECT_EQ(curve.lr.size(), 2u);
    }
}

TEST(FindFiles, the_json_has_every_field_of_the_interface) {
    RangeTestResult test = range_test_around(-2.6, 0.05, 1);
    test.digest_before = test.digest_after = "abc";
    test.seconds = 1.5;
    const json j = json::parse(find_json(test));
    for (const char* field : {"lr", "loss", "smoothed", "suggestion", "auto_lr", "lowest", "rules", "edge",
                              "stopped", "steps", "state_digest_before", "state_digest_after", "seconds",
                              "noise", "prior", "curve_lr", "curve_weight", "usual_lr"})
        EXPECT_TRUE(j.contains(field)) << field;
    EXPECT_TRUE(j["prior"].is_null()) << "the curve answered";
    EXPECT_EQ(j["suggestion"]["rule"], "steepest");
    EXPECT_EQ(j["suggestion"]["lr"], test.analysis.suggestion->lr);
    EXPECT_EQ(j["rules"]["steepest"], j["suggestion"]["lr"]);
    for (const char* rule : {"valley", "slide", "minimum", "steep"})
        EXPECT_TRUE(j["rules"][rule].is_number()) << rule;
    EXPECT_EQ(j["stopped"], "blow-up");
    EXPECT_EQ(j["steps"], test.lr.size());
    EXPECT_EQ(j["state_digest_after"], "abc");
    EXPECT_FALSE(j.contains("reason"));
}

TEST(FindFiles, without_an_answer_the_json_has_null_and_the_reason) {
    const json j = json::parse(find_json(without_descent()));
    EXPECT_TRUE(j["suggestion"].is_null());
    EXPECT_TRUE(j["auto_lr"].is_null());
    EXPECT_TRUE(j["rules"]["steepest"].is_null());
    EXPECT_EQ(j["reason"].get<std::string>().rfind("no clear descent", 0), 0u);
    EXPECT_TRUE(j["state_digest_before"].is_null());
    EXPECT_TRUE(j["stopped"].is_null());
}

TEST(FindFiles, the_json_never_holds_nan_or_infinity) {
    for (const double wild : {double(NAN), double(INFINITY), double(-INFINITY)}) {
        const std::string text = find_json(analyse_range_test({1e-3, 1e-2, 1e-1}, {wild, 1, wild}));
        const json j = json::parse(text);  // strict: throws on NaN
        EXPECT_TRUE(j["loss"][0].is_null());
        EXPECT_EQ(j["loss"][1], 1.0);
    }
}

}  // namespace
}  // namespace onecycle
