#include "onecycle/evaluation.h"

#include <gtest/gtest.h>

#include <sstream>

#include "report/text.h"
#include "report/well_formed.h"

namespace onecycle {
namespace {

Evaluation with_confusion(const std::vector<std::vector<std::int64_t>>& confusion,
                          const std::vector<std::string>& names) {
    Evaluation e{.confusion = confusion};
    for (std::size_t i = 0; i < names.size(); ++i) {
        ClassResult c{.name = names[i]};
        for (const std::int64_t count : confusion[i]) c.count += count;
        e.n += c.count;
        e.per_class.push_back(c);
    }
    return e;
}

// Each class is taken for the next one once, and is right `i` times.
Evaluation ring(std::size_t classes) {
    std::vector<std::vector<std::int64_t>> confusion(classes, std::vector<std::int64_t>(classes));
    std::vector<std::string> names;
    for (std::size_t i = 0; i < classes; ++i) {
        confusion[i][i] = static_cast<std::int64_t>(i);
        confusion[i][(i + 1) % classes] = 1;
        names.push_back("class " + std::to_string(i));
    }
    return with_confusion(confusion, names);
}

TEST(EvaluationText, a_small_matrix_is_shown_whole) {
    Evaluation e = with_confusion({{79, 0, 3}, {0, 120, 0}, {12, 1, 5}}, {"daisy", "rose <&>", "a\nb"});
    e.top_losses = {{"odd\nname.jpg", 7.25, 0, 2, 0.0007}};
    const std::string text = evaluation_text(e);
    for (const char* part :
         {"            a   b   c\n", "daisy     a  79   ·   3\n", "rose <&>  b   · 120   ·\n",
          "a\\nb      c  12   1   5\n", "    12 of 18 a\\nb, taken for daisy\n",
          "  7.250  odd\\nname.jpg: daisy (0.1 %), taken for a\\nb\n"})
        EXPECT_NE(text.find(part), std::string::npos) << part << "\nin\n" << text;
    EXPECT_EQ(text.back(), '\n');
}

TEST(EvaluationText, of_many_classes_only_the_most_confused_are_shown) {
    EXPECT_NE(evaluation_text(ring(20)).find("by row"), std::string::npos);
    const std::string text = evaluation_text(ring(21));
    EXPECT_EQ(text.find("by row"), std::string::npos);
    EXPECT_NE(text.find("Most confused:\n     1 of 1 class 0, taken for class 1\n"), std::string::npos)
        << text;
    EXPECT_EQ(evaluation_text(with_confusion({{3}}, {"all"})).find("Most confused"), std::string::npos);
}

TEST(EvaluationText, top_5_is_told_where_it_says_something) {
    EXPECT_EQ(evaluation_text(ring(5)).find("top-5"), std::string::npos) << "it is always 100 %";
    EXPECT_NE(evaluation_text(ring(6)).find("top-5 "), std::string::npos);
}

TEST(EvaluationText, what_is_too_wide_for_the_terminal_is_left_out_and_said) {
    for (const int width : {60, 80, 140}) {
        const std::string text = wrapped(evaluation_text(ring(20), width), width);
        std::istringstream lines(text);
        for (std::string line; std::getline(lines, line);) EXPECT_LE(columns(line), width) << line;
        EXPECT_EQ(text.find("by row") != std::string::npos, width > 60) << text;
        EXPECT_EQ(text.find("--svg FILE draws it") != std::string::npos, width == 60) << text;
    }
}

TEST(EvaluationText, long_names_do_not_tear_the_columns) {
    const std::string text = evaluation_text(
        with_confusion({{1, 0}, {0, 1}}, {"a", "ein Gänseblümchen auf einer sehr großen Wiese"}));
    EXPECT_NE(text.find("ein Gänseblümchen auf e…"), std::string::npos) << text;
}

TEST(ConfusionSvg, is_a_picture_with_a_field_for_each_pair_that_occurs) {
    const std::string svg = confusion_svg(
        with_confusion({{79, 0, 3}, {0, 120, 0}, {12, 1, 5}}, {"daisy", "rose <&>", "a\nb"}), "R&D");
    expect_well_formed(svg);
    EXPECT_NE(svg.find("<title>a\\nb, taken for daisy: 12 of 18</title>"), std::string::npos) << svg;
    std::size_t fields = 0;
    for (std::size_t at = svg.find("<rect class=\"box"); at != std::string::npos;
         at = svg.find("<rect class=\"box", at + 1))
        ++fields;
    EXPECT_EQ(fields, 6u);
    const std::string odd = "a\x01\x7F\xC2\x85\xEF\xBF\xBE\xEF\xBF\xBF\xED\xA0\x80\xFF\xE6\x97";
    expect_well_formed(confusion_svg(with_confusion({{1, 1}, {0, 1}}, {odd, odd + "<"}), odd + " & more"));
    for (const std::size_t classes : {1, 2, 50, 51, 1000}) expect_well_formed(confusion_svg(ring(classes)));
}

}  // namespace
}  // namespace onecycle
