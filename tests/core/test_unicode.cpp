// Names that are the same text, and names that only look like it.
#include "core/unicode.h"

#include <gtest/gtest.h>

#include "core/echoed.h"
#include "onecycle/error.h"

using namespace onecycle;

TEST(Unicode, canonically_equal_texts_have_one_form) {
    EXPECT_EQ(nfc("cafe\xCC\x81"), "caf\xC3\xA9");
    EXPECT_EQ(nfc("caf\xC3\xA9"), "caf\xC3\xA9");
    EXPECT_EQ(nfc("\xE1\x84\x80\xE1\x85\xA1"), "\xEA\xB0\x80");  // Hangul, of its parts
    EXPECT_EQ(nfc("\xEF\xAC\x81"), "\xEF\xAC\x81");  // the ligature fi is another text than f and i
}

TEST(Unicode, what_is_no_utf8_stays_as_it_is) {
    EXPECT_EQ(nfc("caf\xE9"), "caf\xE9");
    EXPECT_EQ(nfc(""), "");
    EXPECT_EQ(spelled_out("caf\xE9"), "caf<byte E9>");
}

TEST(Unicode, lookalikes_share_a_key) {
    EXPECT_EQ(lookalike_key("Cat"), lookalike_key("cat"));
    EXPECT_EQ(lookalike_key("red\xC2\xA0"
                            "cup "),
              lookalike_key("red cup"));
    EXPECT_EQ(lookalike_key("cat\xE2\x80\x8B"), lookalike_key("cat"));  // a blank without width
    EXPECT_EQ(lookalike_key("\xEF\xAC\x81sh"), lookalike_key("fish"));
    EXPECT_NE(lookalike_key("cat"), lookalike_key("cart"));
}

TEST(Unicode, code_points_show_what_is_not_seen) {
    EXPECT_EQ(spelled_out("cafe\xCC\x81"), "cafe<U+0301>");
    EXPECT_EQ(spelled_out("red cup "), "red cup<U+0020>");
}

TEST(Printable, invisible_characters_of_unicode_are_escaped) {
    EXPECT_EQ(printable("a\xE2\x80\xAEgpj.exe"), "a\\u202egpj.exe");  // right to left from here
    EXPECT_EQ(printable("\xE2\x81\xA6x\xE2\x81\xA9"), "\\u2066x\\u2069");
    EXPECT_EQ(printable("a\xE2\x80\xA8"
                        "b\xE2\x80\xA9"
                        "c"),
              "a\\u2028b\\u2029c");
    EXPECT_EQ(printable("no\xE2\x80\x8B"
                        "blank\xEF\xBB\xBF"),
              "no\\u200bblank\\ufeff");
    EXPECT_EQ(printable("soft\xC2\xADhyphen"), "soft\\u00adhyphen");
    EXPECT_EQ(printable("tag\xF3\xA0\x81\x81"), "tag\\U000e0041");
    EXPECT_EQ(printable("\xE3\x85\xA4"), "\\u3164");                     // the Hangul filler
    EXPECT_EQ(printable("\xEF\xBF\xBE\xEF\xBF\xBF"), "\\ufffe\\uffff");  // they never become characters
    EXPECT_EQ(printable("\xEF\xB7\x90\xF4\x8F\xBF\xBF"), "\\ufdd0\\U0010ffff");
    for (const char* shown : {"caf\xC3\xA9", "\xE7\x8C\xAB", "\xD7\x97\xD7\xAA\xD7\x95\xD7\x9C",
                              "cafe\xCC\x81", "\xF0\x9F\x90\xB1"})
        EXPECT_EQ(printable(shown), shown);
}

TEST(Printable, bytes_that_are_no_utf8_are_escaped_one_by_one) {
    EXPECT_EQ(printable("a\tb\x7F"), "a\\tb\\x7f");
    EXPECT_EQ(printable("\xC2\x85"), "\\xc2\\x85");                    // a control character of two bytes
    EXPECT_EQ(printable("\xC0\xAF"), "\\xc0\\xaf");                    // overlong, of two bytes,
    EXPECT_EQ(printable("\xE0\x80\xAF"), "\\xe0\\x80\\xaf");           // of three
    EXPECT_EQ(printable("\xF0\x80\x80\xAF"), "\\xf0\\x80\\x80\\xaf");  // and of four
    EXPECT_EQ(printable("\xED\xA0\x80"), "\\xed\\xa0\\x80");           // half of a pair of UTF-16
    EXPECT_EQ(printable("\xF4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // above U+10FFFF
    EXPECT_EQ(printable("\xE7\x8C"), "\\xe7\\x8c");                    // cut off
    EXPECT_EQ(printable("\xE7 x"), "\\xe7 x");
}

TEST(PrintableJson, holds_as_escapes_what_is_not_printable) {
    EXPECT_EQ(printable_json("[\n  \"a\\n\\\\\x7F\"\n]\n"), "[\n  \"a\\n\\\\\\u007f\"\n]\n");
    EXPECT_EQ(printable_json("\xC2\x9B"
                             "31m\xC2\x85"),
              "\\u009b31m\\u0085");
    EXPECT_EQ(printable_json("\xE2\x80\xAE\xE2\x81\xA6\xE2\x80\xA8"), "\\u202e\\u2066\\u2028");
    EXPECT_EQ(printable_json("\xEF\xBF\xBF\xF4\x8F\xBF\xBF"), "\\uffff\\udbff\\udfff");
    EXPECT_EQ(printable_json("\xF3\xA0\x81\x81"), "\\udb40\\udc41") << "a pair of UTF-16";
    EXPECT_EQ(printable_json("\xFF"), "\\ufffd");
    for (const char* shown : {"caf\xC3\xA9", "\xE7\x8C\xAB", "\xF0\x9F\x90\xB1"})
        EXPECT_EQ(printable_json(shown), shown);
}

TEST(Echoed, values_are_printable_and_cut_at_200_characters_once) {
    EXPECT_EQ(echoed("a\x1b[31m\nb"), "a\\x1b[31m\\nb");
    EXPECT_EQ(echoed(std::string(200, 'x')), std::string(200, 'x'));
    const std::string cut = std::string(200, 'x') + "… (5000 characters)";
    EXPECT_EQ(echoed(std::string(5000, 'x')), cut);
    EXPECT_EQ(echoed("many words " + std::string(5000, ' ')).size(),
              200 + 3 + std::string(" (5011 characters)").size());
    EXPECT_STREQ(Error(ErrorKind::data, "cannot", "file", "it has '" + cut + "'").what(),
                 ("cannot: file: it has '" + cut + "'").c_str());
}

TEST(Error, hands_out_its_parts_also_where_their_text_holds_the_marks_between_them) {
    const std::string why = "it has 'a; fix: b: c'";
    const Error whole(ErrorKind::data, "cannot read", "d: e; fix: f", why, "type g; fix: h");
    EXPECT_STREQ(whole.what(), ("cannot read: d: e; fix: f: " + why + "; fix: type g; fix: h").c_str());
    EXPECT_EQ(whole.why(), why);
    EXPECT_EQ(whole.fix(), "type g; fix: h");
    EXPECT_EQ(whole.without_fix(), "cannot read: d: e; fix: f: " + why);
    const Error copy = Error(ErrorKind::data, "w", "x", "a\nb");
    EXPECT_EQ(copy.why(), "a\\nb");
    EXPECT_EQ(copy.fix(), "");
    EXPECT_EQ(copy.without_fix(), copy.what());
    const Error bare(ErrorKind::data, "w", "", "", "z");
    EXPECT_EQ(bare.why(), "");
    EXPECT_EQ(bare.fix(), "z");
}

TEST(Error, values_are_cut_at_200_characters_and_fixes_are_not) {
    std::string cats;
    for (int k = 0; k < 300; ++k) cats += "\xE7\x8C\xAB";
    const std::string most = cats.substr(0, 600);
    const Error error(ErrorKind::usage, "bad option", "--x " + cats, "'" + cats + "' is no number", cats);
    EXPECT_STREQ(error.what(), ("bad option: --x " + cats.substr(0, 588) + "… (304 characters): '" +
                                cats.substr(0, 597) + "… (302 characters) is no number; fix: " + cats)
                                   .c_str());
    EXPECT_EQ(Error(ErrorKind::data, "w", most, "y").what(), "w: " + most + ": y");
    std::string words;
    for (int k = 0; k < 2000; ++k) words += "a ";
    EXPECT_LT(std::string(Error(ErrorKind::data, "w", "x", words).what()).size(), 1050u);
}
