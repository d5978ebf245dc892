// Names that are the same text, and names that only look like it.
#include "core/unicode.h"

#include <gtest/gtest.h>

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
