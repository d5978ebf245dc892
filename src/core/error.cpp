#include "onecycle/error.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdio>

#include "core/echoed.h"

namespace onecycle {

namespace {

constexpr std::size_t longest_value = 200, longest_part = 1000;  // characters
constexpr const char* cut_mark = "…";
constexpr std::string_view fix_mark = "; fix: ";

bool begins_character(char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
}

// The first `most` characters of a printable text, and how many there are.
std::string cut(const std::string& text, std::size_t most) {
    const auto count = static_cast<std::size_t>(std::count_if(text.begin(), text.end(), begins_character));
    if (count <= most) return text;
    std::size_t end = 0;
    for (std::size_t begun = 0; end < text.size(); ++end)
        if (begins_character(text[end]) && ++begun > most) break;
    return text.substr(0, end) + cut_mark + " (" + std::to_string(count) + " characters)";
}

// Cuts the long words of a sentence: only a value from outside is one, and one that was echoed() is
// cut already. A value of many words makes the sentence itself too long.
std::string cut_words(const std::string& sentence) {
    std::string out;
    for (std::size_t at = 0; at < sentence.size();) {
        const std::size_t end = std::min(sentence.find(' ', at), sentence.size());
        const std::string word = sentence.substr(at, end - at);
        out += word.ends_with(cut_mark) ? word : cut(word, longest_value);
        if (end < sentence.size()) out += ' ';
        at = end + 1;
    }
    return cut(out, longest_part);
}

// Length of the valid UTF-8 sequence at `i`, or 0.
std::size_t utf8_length(const std::string& s, std::size_t i) {
    const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(s[k]); };
    const unsigned lead = byte(i);
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xC2 && lead < 0xE0 ? 2
                               : lead >= 0xE0 && lead < 0xF0 ? 3
                               : lead >= 0xF0 && lead < 0xF5 ? 4
                                                             : 0;
    if (length == 0 || i + length > s.size()) return 0;
    for (std::size_t k = 1; k < length; ++k)
        if ((byte(i + k) & 0xC0) != 0x80) return 0;
    if (lead == 0xE0 && byte(i + 1) < 0xA0) return 0;  // overlong
    if (lead == 0xED && byte(i + 1) > 0x9F) return 0;  // surrogate
    if (lead == 0xF0 && byte(i + 1) < 0x90) return 0;  // overlong
    if (lead == 0xF4 && byte(i + 1) > 0x8F) return 0;  // above U+10FFFF
    return length;
}

// Whether a character shows nothing of itself, but may turn, split or hide what stands around it:
// all format characters (directions, joiners, tags), line and paragraph separators, and the fillers
// that are letters only by name.
bool is_invisible(utf8proc_int32_t character) {
    switch (utf8proc_category(character)) {
        case UTF8PROC_CATEGORY_CF:
        case UTF8PROC_CATEGORY_ZL:
        case UTF8PROC_CATEGORY_ZP:
            return true;
        default:
            break;
    }
    for (const utf8proc_int32_t filler : {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0})
        if (character == filler) return true;
    return false;
}

}  // namespace

struct Error::Line {
    std::string text;
    std::size_t why_begins, why_ends;

    // What is echoed is cut, except in the fix, whose paths and commands are there to be copied.
    Line(const std::string& what, const std::string& where, const std::string& why, const std::string& fix)
        : text(what) {
        if (!where.empty()) text += ": " + echoed(where);
        if (!why.empty()) text += ": ";
        why_begins = text.size();
        text += cut_words(printable(why));
        why_ends = text.size();
        if (!fix.empty()) text.append(fix_mark).append(printable(fix));
    }
};

Error::Error(ErrorKind kind, const std::string& what, const std::string& where, const std::string& why,
             const std::string& fix)
    : Error(kind, Line(what, where, why, fix)) {}

Error::Error(ErrorKind kind, const Line& line)
    : std::runtime_error(line.text), kind_(kind), why_begins_(line.why_begins), why_ends_(line.why_ends) {}

std::string_view Error::why() const noexcept {
    return without_fix().substr(why_begins_);
}

std::string_view Error::fix() const noexcept {
    const std::string_view rest = std::string_view(what()).substr(why_ends_);
    return rest.substr(std::min(rest.size(), fix_mark.size()));
}

std::string_view Error::without_fix() const noexcept {
    return std::string_view(what()).substr(0, why_ends_);
}

std::string echoed(const std::string& value) {
    return cut(printable(value), longest_value);
}

std::string printable(const std::string& bytes) {
    std::string out;
    for (std::size_t i = 0; i < bytes.size();) {
        const unsigned char c = static_cast<unsigned char>(bytes[i]);
        const std::size_t length = utf8_length(bytes, i);
        const bool c1_control = length == 2 && c == 0xC2 && static_cast<unsigned char>(bytes[i + 1]) < 0xA0;
        if (length == 0 || c < 0x20 || c == 0x7F || c1_control) {
            char escape[8];
            if (c == '\n')
                std::snprintf(escape, sizeof escape, "\\n");
            else if (c == '\t')
                std::snprintf(escape, sizeof escape, "\\t");
            else
                std::snprintf(escape, sizeof escape, "\\x%02x", c);
            out += escape;
            ++i;
        } else if (utf8proc_int32_t character = 0;
                   length > 1 &&
                   utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(bytes.data() + i),
                                    static_cast<utf8proc_ssize_t>(length), &character) > 0 &&
                   is_invisible(character)) {
            char escape[16];
            std::snprintf(escape, sizeof escape, character > 0xFFFF ? "\\U%08x" : "\\u%04x",
                          static_cast<unsigned>(character));
            out += escape;
            i += length;
        } else {
            out.append(bytes, i, length);
            i += length;
        }
    }
    return out;
}

}  // namespace onecycle
