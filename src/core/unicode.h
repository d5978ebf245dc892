// Names as people see them: different bytes may be the same text (Unicode normalisation), or look
// like it.
#pragma once

#include <string>

namespace onecycle {

// Unicode's normalisation form C: equal for names that are the same text ("é" as one character or
// as e and an accent, as macOS writes it). What is no UTF-8 stays as it is.
std::string nfc(const std::string& text);

// Equal for names that are easily taken for each other: other case, other blanks, other forms of a
// letter, invisible characters. Not for showing.
std::string lookalike_key(const std::string& text);

// The text with A to Z as a to z; every other byte stays as it is.
std::string lower_case(std::string text);

// Every character beyond ASCII, and blanks at both ends, as its code point: "cafe<U+0301>".
std::string spelled_out(const std::string& text);

}  // namespace onecycle
