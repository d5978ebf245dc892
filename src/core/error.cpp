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
// all format characters (directions, joiners, tags), line and paragraph separators, the fillers that
// are letters only by name, and the numbers that never become characters (U+FFFE, U+FFFF).
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
    return (character & 0xFFFE) == 0xFFFE || (character >= 0xFDD0 && character <= 0xFDEF);
}

// The text with what `escape` makes of each control or invisible character, and of each byte that
// is no UTF-8: it is given the bytes, and the character or -1.
template <class Escape>
std::string with_escapes(const std::string& text, const Escape& escape) {
    std::string out;
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t length = utf8_length(text, i), taken = std::max<std::size_t>(length, 1);
        const std::string_view bytes = std::string_view(text).substr(i, taken);
        utf8proc_int32_t character = length == 1 ? bytes[0] : -1;
        if (length > 1)
            utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(bytes.data()),
                             static_cast<utf8proc_ssize_t>(length), &character);
        const bool control = character < 0x20 || (character >= 0x7F && character < 0xA0);
        if (control || (length > 1 && is_invisible(character)))
            out += escape(bytes, character);
        else
            out += bytes;
        i += taken;
    }
    return out;
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
    return with_escapes(bytes, [](std::string_view unseen, utf8proc_int32_t character) {
        if (unseen == "\n") return std::string("\\n");
        if (unseen == "\t") return std::string("\\t");
        std::string escapes;
        char escape[16];
        if (character >= 0xA0) {
            std::snprintf(escape, sizeof escape, character > 0xFFFF ? "\\U%08x" : "\\u%04x",
                          static_cast<unsigned>(character));
            return std::string(escape);
        }
        for (const char byte : unseen) {
            std::snprintf(escape, sizeof escape, "\\x%02x", static_cast<unsigned char>(byte));
            escapes += escape;
        }
        return escapes;
    });
}

std::string printable_json(const std::string& json) {
    return with_escapes(json, [](std::string_view unseen, utf8proc_int32_t character) {
        if (unseen[0] == '\n') return std::string(unseen);  // between the values: in a text it is \n already
        const auto escape = [](utf8proc_int32_t unit) {
            char text[8];
            std::snprintf(text, sizeof text, "\\u%04x", static_cast<unsigned>(unit) & 0xFFFF);
            return std::string(text);
        };
        if (character < 0) return escape(0xFFFD);  // no UTF-8
        if (character <= 0xFFFF) return escape(character);
        const utf8proc_int32_t above = character - 0x10000;
        return escape(0xD800 + (above >> 10)) + escape(0xDC00 + (above & 0x3FF));
    });
}

}  // namespace onecycle
