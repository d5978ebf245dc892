#include "core/shell_quoted.h"

#include <algorithm>
#include <string_view>

#include "onecycle/error.h"

namespace onecycle {

std::string shell_quoted(const std::string& path) {
    const auto plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               static_cast<unsigned char>(c) >= 0x80 ||
               std::string_view("/._-+,:@%=").find(c) != std::string_view::npos;
    };
    const std::string text = printable(path);
    if (!text.empty() && std::all_of(text.begin(), text.end(), plain)) return text;
    std::string quoted = "'";
    for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return quoted + "'";
}

}  // namespace onecycle
