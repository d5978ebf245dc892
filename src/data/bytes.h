// Integers in untrusted bytes. The caller has checked that they are there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace onecycle {

using Bytes = std::span<const std::uint8_t>;

inline std::uint32_t big16(Bytes b, std::size_t at) {
    return std::uint32_t{b[at]} << 8 | b[at + 1];
}
inline std::uint32_t big32(Bytes b, std::size_t at) {
    return big16(b, at) << 16 | big16(b, at + 2);
}
inline std::uint32_t little16(Bytes b, std::size_t at) {
    return std::uint32_t{b[at + 1]} << 8 | b[at];
}
inline std::uint32_t little32(Bytes b, std::size_t at) {
    return little16(b, at + 2) << 16 | little16(b, at);
}

}  // namespace onecycle
