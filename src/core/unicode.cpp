#include "core/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace onecycle {

namespace {

bool is_ascii(const std::string& text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

const utf8proc_uint8_t* bytes_of(const std::string& text) {
    return reinterpret_cast<const utf8proc_uint8_t*>(text.data());
}

// `text` itself where it is no UTF-8.
std::string mapped(const std::string& text, int options) {
    utf8proc_uint8_t* result = nullptr;
    const utf8proc_ssize_t length = utf8proc_map(bytes_of(text), static_cast<utf8proc_ssize_t>(text.size()),
                                                 &result, static_cast<utf8proc_option_t>(options));
    if (length < 0) return text;
    std::string mapped(reinterpret_cast<const char*>(result), static_cast<std::size_t>(length));
    std::free(result);
    return mapped;
}

}  // namespace

std::string lower_case(std::string text) {
    for (char& c : text)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return text;
}

std::string nfc(const std::string& text) {
    return is_ascii(text) ? text : mapped(text, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
}

std::string lookalike_key(const std::string& text) {
    std::string folded = mapped(text, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT |
                                          UTF8PROC_CASEFOLD | UTF8PROC_IGNORE | UTF8PROC_LUMP);
    std::string key;
    for (const char c : folded)
        if (c != ' ' || (!key.empty() && key.back() != ' ')) key += c;
    while (key.ends_with(' ')) key.pop_back();
    return key;
}

std::string spelled_out(const std::string& text) {
    const std::size_t first = text.find_first_not_of(' '), last = text.find_last_not_of(' ');
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
        utf8proc_int32_t character = -1;
        const auto length = utf8proc_iterate(bytes_of(text) + at,
                                             static_cast<utf8proc_ssize_t>(text.size() - at), &character);
        char code[16];
        if (length <= 0)
            std::snprintf(code, sizeof code, "<byte %02X>", static_cast<unsigned char>(text[at]));
        else
            std::snprintf(code, sizeof code, "<U+%04X>", static_cast<unsigned>(character));
        const bool plain = length == 1 && character > ' ' && character < 0x7F;
        const bool inner_blank = character == ' ' && at > first && at < last;
        out += plain || inner_blank ? std::string(1, text[at]) : std::string(code);
        at += length > 0 ? static_cast<std::size_t>(length) : 1;
    }
    return out;
}

}  // namespace onecycle
