// Compressed files by their first bytes.
#include <array>

#include "data/tar.h"

namespace onecycle {

Compression compression_of(std::string_view head) {
    using namespace std::string_view_literals;
    struct Known {
        std::string_view begin;
        Compression compression;
    };
    static constexpr std::array<Known, 5> known = {{
        {"\x1F\x8B"sv, {"gzip", "gunzip"}},
        {"\x28\xB5\x2F\xFD"sv, {"zstd", "unzstd"}},
        {"\xFD"
         "7zXZ"sv,
         {"xz", "unxz"}},
        {"BZh"sv, {"bzip2", "bunzip2"}},
        {"\x04\x22\x4D\x18"sv, {"lz4", "unlz4"}},
    }};
    for (const Known& entry : known)
        if (head.starts_with(entry.begin)) return entry.compression;
    return {};
}

}  // namespace onecycle
