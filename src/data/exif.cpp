#include "data/codecs.h"

namespace onecycle {

int exif_orientation(Bytes tiff) {
    if (tiff.size() < 8) return 1;
    const bool little = tiff[0] == 'I' && tiff[1] == 'I';
    if (!little && !(tiff[0] == 'M' && tiff[1] == 'M')) return 1;
    const auto u16 = [&](std::size_t at) { return little ? little16(tiff, at) : big16(tiff, at); };
    const auto u32 = [&](std::size_t at) { return little ? little32(tiff, at) : big32(tiff, at); };
    if (u16(2) != 42) return 1;

    const std::size_t directory = u32(4);
    if (directory > tiff.size() - 2) return 1;
    const std::size_t entries = u16(directory);
    for (std::size_t k = 0; k < entries; ++k) {
        const std::size_t entry = directory + 2 + 12 * k;  // tag, type, count, value: 2 + 2 + 4 + 4 bytes
        if (entry + 12 > tiff.size()) return 1;
        if (u16(entry) != 0x0112) continue;
        const std::uint32_t type = u16(entry + 2);
        const std::uint32_t value = type == 3 ? u16(entry + 8) : type == 4 ? u32(entry + 8) : 0;
        return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
    }
    return 1;
}

}  // namespace onecycle
