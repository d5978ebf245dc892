// Numbers and columns for people's eyes.
#pragma once

#include <string>
#include <string_view>

namespace onecycle {

// `digits` significant digits, exponents as short as they go: 0.0025, 1e-7, 12.
std::string short_number(double value, int digits = 2);

// A power of ten: 10 with a superscript exponent.
std::string power_of_ten(int exponent);

// 4.2 -> 4s, 83 -> 1:23, 3723 -> 1:02:03.
std::string duration(double seconds);

// Columns on a terminal: two for wide characters, none for combining ones and for escape sequences.
int columns(std::string_view utf8);

// Lines of more than `width` columns (0: no limit) broken between words, never inside one: a word
// that is too long stands alone. What follows a break begins at column `hanging`; -1: two columns
// after the line's own indentation, or at the edge where it has none. A command of this program is
// broken as a shell reads it on.
std::string wrapped(std::string_view text, int width, int hanging = -1);

// At most so many columns, with an ellipsis at the end where something was cut off.
std::string shortened(std::string text, int most);

// Filled up with blanks to `width` columns; the text at the left, or at the right.
std::string pad_right(std::string text, int width);
std::string pad_left(std::string text, int width);

// "left ━━━━━╸┄┄┄ right" in at most `width` columns, a `share` of the bar filled. Where there is no
// room for a bar, there is none, and of the figures in `right`, parted by two blanks, only the
// first ones that fit.
std::string bar_line(std::string left, double share, std::string right, int width);

// `count` times `text`.
std::string repeat(std::string_view text, int count);

}  // namespace onecycle
