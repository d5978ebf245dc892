#include "report/text.h"

#include <gtest/gtest.h>

#include <random>
#include <sstream>

namespace onecycle {
namespace {

TEST(Text, counts_the_columns_that_a_terminal_uses) {
    EXPECT_EQ(columns("plain text"), 10);
    EXPECT_EQ(columns("größe"), 5);
    EXPECT_EQ(columns("gro\u0308ße"), 5) << "a combining character stands on the one before";
    EXPECT_EQ(columns("日本"), 4) << "ideographs are wide";
    EXPECT_EQ(columns("한국어"), 6);
    EXPECT_EQ(columns("ﬁｘ"), 3) << "a ligature, then a full-width letter";
    EXPECT_EQ(columns("★ ━ ⠉"), 5);
    EXPECT_EQ(columns("\x1b[1mbold\x1b[0m"), 4);
    EXPECT_EQ(columns(""), 0);
    EXPECT_EQ(columns("cut \xe6\x97"), 5) << "what is no UTF-8 does no harm";
}

TEST(Text, pads_and_shortens_by_columns) {
    EXPECT_EQ(pad_right("日本", 6), "日本  ");
    EXPECT_EQ(pad_left("日本", 6), "  日本");
    EXPECT_EQ(shortened("日本語の犬", 6), "日本…");
    EXPECT_EQ(shortened("abcdef", 6), "abcdef");
}

TEST(Text, wraps_between_words_alone) {
    EXPECT_EQ(wrapped("one two three", 7), "one two\nthree");
    EXPECT_EQ(wrapped("one two three", 0), "one two three");
    EXPECT_EQ(wrapped("a verylongword b", 6), "a\nverylongword\nb");
    EXPECT_EQ(wrapped("  item of a list", 10), "  item of\n    a list")
        << "what belongs to it stands below it";
    EXPECT_EQ(wrapped("name  what it is", 12, 6), "name  what\n      it is");
    EXPECT_EQ(wrapped("short\n\nlonger line\n", 8), "short\n\nlonger\nline\n");
    EXPECT_EQ(wrapped("犬 猫 鳥", 5), "犬 猫\n鳥");
    EXPECT_EQ(wrapped("\x1b[1mbold is narrow\x1b[0m", 14), "\x1b[1mbold is narrow\x1b[0m");
}

TEST(Text, wrapping_keeps_every_word_and_fits_whenever_words_do) {
    std::mt19937 random(3);
    const char* const pieces[] = {"a",      "of",           "image", "größe", "日本語", "e\u0301t\u00e9",
                                  "0.0025", "learning-rate"};
    for (int i = 0; i < 2000; ++i) {
        std::string text(random() % 5, ' ');
        for (unsigned n = random() % 30; n > 0; --n)
            text += pieces[random() % std::size(pieces)] + std::string(1 + random() % 2, ' ');
        const int width = 20 + static_cast<int>(random() % 100);
        const std::string lines = wrapped(text, width, static_cast<int>(random() % 12) - 1);
        std::istringstream before(text), after(lines), each(lines);
        for (std::string word, other; before >> word;) {
            ASSERT_TRUE(after >> other);
            ASSERT_EQ(word, other);
        }
        for (std::string line; std::getline(each, line);) ASSERT_LE(columns(line), width) << lines;
    }
}

}  // namespace
}  // namespace onecycle
