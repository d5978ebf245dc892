#include "onecycle/error.h"

#include <cstdio>

namespace onecycle {

namespace {

std::string one_line(const std::string& what, const std::string& where, const std::string& why,
                     const std::string& fix) {
    std::string line = what;
    if (!where.empty()) line += ": " + printable(where);
    if (!why.empty()) line += ": " + printable(why);
    if (!fix.empty()) line += "; fix: " + printable(fix);
    return line;
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

}  // namespace

Error::Error(ErrorKind kind, const std::string& what, const std::string& where, const std::string& why,
             const std::string& fix)
    : std::runtime_error(one_line(what, where, why, fix)), kind_(kind) {}

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
        } else {
            out.append(bytes, i, length);
            i += length;
        }
    }
    return out;
}

}  // namespace onecycle
