#include "report/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace onecycle {

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
    return static_cast<int>(
        std::count_if(utf8.begin(), utf8.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string shortened(std::string text, int most) {
    if (columns(text) <= most) return text;
    while (columns(text) >= most) {
        while ((text.back() & 0xC0) == 0x80) text.pop_back();  // the rest of a code point
        text.pop_back();
    }
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
    // Too narrow for all: the end is what can be missed.
    while (columns(line) > width) line.pop_back();
    return line;
}

}  // namespace onecycle
