#include "report/text.h"

#include <gtest/gtest.h>

#include <chrono>
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
    EXPECT_EQ(shortened("日本語の犬", 5), "日本…");
    EXPECT_EQ(shortened("abcde\u0301fg", 6), "abcde\u0301…") << "an accent stays with its letter";
    EXPECT_EQ(shortened("größer", 6), "größer");
    EXPECT_EQ(shortened("abc", 1), "…");
    EXPECT_EQ(shortened("", 0), "");
}

TEST(Text, a_megabyte_takes_no_longer_than_its_length) {
    const auto begin = std::chrono::steady_clock::now();
    for (const std::string piece : {"a", "ß", "日", "\u0301", "\x1b[1m", "\xff", "a "}) {
        const std::string text = repeat(piece, (1 << 20) / static_cast<int>(piece.size()));
        EXPECT_LE(columns(shortened(text, 100)), 100);
        EXPECT_LE(columns(bar_line(text, 0.5, text, 80)), 80);
    }
    // Of a sanitizer, too; what looks at the whole text for each character takes hours.
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
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
