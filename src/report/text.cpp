#include "report/text.h"

#include <fmt/format.h>
#include <locale.h>
#include <wchar.h>

#include <algorithm>
#include <cmath>

namespace onecycle {

namespace {

// As the C library knows it, whatever the locale that the program runs in.
int columns_of(char32_t code_point) {
    if (code_point < 0x20) return 0;
    if (code_point < 0x7F) return 1;
    static const locale_t unicode = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    if (!unicode) return 1;
    const locale_t before = ::uselocale(unicode);
    const int width = ::wcwidth(static_cast<wchar_t>(code_point));
    ::uselocale(before);
    return width < 0 ? 1 : width;
}

// The code point at the beginning of `rest`, which is not empty; a byte by itself where there is
// none.
char32_t take_code_point(std::string_view& rest) {
    const auto lead = static_cast<unsigned char>(rest.front());
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    char32_t code_point = length == 1 ? lead : lead & (0xFFu >> (length + 1));
    const std::size_t taken = std::min(length, rest.size());
    for (std::size_t i = 1; i < taken; ++i)
        code_point = code_point << 6 | (static_cast<unsigned char>(rest[i]) & 0x3Fu);
    rest.remove_prefix(taken);
    return code_point;
}

// "\x1b[1m" and the like.
std::size_t escape_length(std::string_view text) {
    if (!text.starts_with("\x1b[")) return 0;
    const std::size_t end = text.find_first_not_of("0123456789;", 2);
    return end == std::string_view::npos ? text.size() : end + 1;
}

// Takes a character or an escape sequence from the beginning of `rest`, which is not empty; returns
// its columns.
int take_columns(std::string_view& rest) {
    if (const std::size_t escape = escape_length(rest)) {
        rest.remove_prefix(escape);
        return 0;
    }
    return columns_of(take_code_point(rest));
}

// The longest beginning of a text that takes at most so many columns.
std::string_view first_columns(std::string_view text, int most) {
    std::string_view rest = text;
    std::size_t fits = 0;
    for (int count = 0; !rest.empty(); fits = text.size() - rest.size())
        if ((count += take_columns(rest)) > most) break;
    return text.substr(0, fits);
}

std::string wrapped_line(std::string_view line, int width, int hanging) {
    if (columns(line) <= width) return std::string(line);
    const std::size_t first = std::min(line.find_first_not_of(' '), line.size());
    const int indent = static_cast<int>(first);
    const bool command = line.substr(first).starts_with("onecycle ");
    const int room = command ? width - 2 : width;
    const int next = hanging >= 0 ? hanging : indent || command ? indent + 2 : 0;
    std::string out;
    int column = 0;
    bool begun = false;  // a word stands in this line
    for (std::size_t at = 0; at < line.size();) {
        const std::size_t word = std::min(line.find_first_not_of(' ', at), line.size());
        if (word == line.size()) break;
        const std::size_t end = std::min(line.find(' ', word), line.size());
        const int gap = static_cast<int>(word - at), wide = columns(line.substr(word, end - word));
        if (begun && column + gap + wide > room) {
            column = std::clamp(room - wide, 0, next);  // as far in as leaves room for the word
            out += (command ? " \\\n" : "\n") + std::string(static_cast<std::size_t>(column), ' ');
        } else {
            out.append(word - at, ' ');
            column += gap;
        }
        out += line.substr(word, end - word);
        column += wide;
        begun = true;
        at = end;
    }
    return out;
}

}  // namespace

std::string short_number(double value, int digits) {
    std::string text = fmt::format("{:.{}g}", value, digits);
    const std::size_t e = text.find('e');
    if (e == std::string::npos) return text;
    const std::string mantissa = text.substr(0, e);
    return fmt::format("{}e{}", mantissa, std::stoi(text.substr(e + 1)));
}

std::string power_of_ten(int exponent) {
    static constexpr const char* digits[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
    std::string text = exponent < 0 ? "10⁻" : "10";
    for (const char c : std::to_string(std::abs(exponent))) text += digits[c - '0'];
    return text;
}

std::string duration(double seconds) {
    if (!(seconds >= 0)) return "?";
    const auto s = static_cast<long long>(std::min(std::round(seconds), 1e15));
    if (s < 60) return fmt::format("{}s", s);
    if (s < 3600) return fmt::format("{}:{:02}", s / 60, s % 60);
    return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

int columns(std::string_view utf8) {
    int count = 0;
    while (!utf8.empty()) count += take_columns(utf8);
    return count;
}

std::string wrapped(std::string_view text, int width, int hanging) {
    if (width <= 0) return std::string(text);
    std::string out;
    for (std::size_t from = 0;;) {
        const std::size_t to = std::min(text.find('\n', from), text.size());
        out += wrapped_line(text.substr(from, to - from), width, hanging);
        if (to == text.size()) return out;
        out += '\n';
        from = to + 1;
    }
}

std::string shortened(std::string text, int most) {
    if (first_columns(text, most).size() == text.size()) return text;
    text.resize(first_columns(text, most - 1).size());
    return text + "…";
}

std::string pad_right(std::string text, int width) {
    text.append(static_cast<std::size_t>(std::max(0, width - columns(text))), ' ');
    return text;
}

std::string pad_left(std::string text, int width) {
    return std::string(static_cast<std::size_t>(std::max(0, width - columns(text))), ' ') + text;
}

std::string repeat(std::string_view text, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) out += text;
    return out;
}

std::string bar_line(std::string left, double share, std::string right, int width) {
    left += " ";
    right = " " + right;
    const int room = width - columns(left) - columns(right);
    std::string bar;
    if (room >= 6) {
        const int half_cells = static_cast<int>(share * 2 * room);
        bar = repeat("━", half_cells / 2);
        if (half_cells % 2) bar += "╸";
        bar += repeat("┄", room - columns(bar));
    }
    std::string line = left + bar + right;
    // Too narrow for all: the figures at the end, two blanks before each, are what can be missed.
    while (columns(line) > width) {
        const std::size_t figure = line.rfind("  ");
        if (figure == std::string::npos || figure == 0) return std::string(first_columns(line, width));
        line.resize(figure);
    }
    return line;
}

}  // namespace onecycle
