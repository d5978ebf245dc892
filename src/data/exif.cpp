// Where metadata say which way is up: EXIF's tag, else XMP's, as Pillow reads them.
#include <algorithm>
#include <string_view>

#include "data/codecs.h"

namespace onecycle {

namespace {

// 1..8, and 1 for a value that is not valid; 0: there is no such tag.
int exif_orientation(Bytes tiff) {
    if (tiff.size() < 8) return 0;
    const bool little = tiff[0] == 'I' && tiff[1] == 'I';
    if (!little && !(tiff[0] == 'M' && tiff[1] == 'M')) return 0;
    const auto u16 = [&](std::size_t at) { return little ? little16(tiff, at) : big16(tiff, at); };
    const auto u32 = [&](std::size_t at) { return little ? little32(tiff, at) : big32(tiff, at); };
    if (u16(2) != 42) return 0;

    const std::size_t directory = u32(4);
    if (directory > tiff.size() - 2) return 0;
    const std::size_t entries = u16(directory);
    for (std::size_t k = 0; k < entries; ++k) {
        const std::size_t entry = directory + 2 + 12 * k;  // tag, type, count, value: 2 + 2 + 4 + 4 bytes
        if (entry + 12 > tiff.size()) return 0;
        if (u16(entry) != 0x0112) continue;
        const std::uint32_t type = u16(entry + 2);
        const std::uint32_t value = type == 3 ? u16(entry + 8) : type == 4 ? u32(entry + 8) : 0;
        return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
    }
    return 0;
}

// The same of a packet of XMP, where it is an attribute or an element: tiff:Orientation="6", or
// <tiff:Orientation>6.
int xmp_orientation(Bytes xmp) {
    const std::string_view text(reinterpret_cast<const char*>(xmp.data()), xmp.size());
    constexpr std::string_view tag = "tiff:Orientation";
    for (std::size_t at = 0; (at = text.find(tag, at)) != text.npos;) {
        at += tag.size();
        std::string_view rest = text.substr(at);
        if (rest.starts_with("=\""))
            rest.remove_prefix(2);
        else if (rest.starts_with('>'))
            rest.remove_prefix(1);
        else
            continue;
        if (!rest.empty() && rest[0] >= '0' && rest[0] <= '9')
            return rest[0] >= '1' && rest[0] <= '8' ? rest[0] - '0' : 1;
    }
    return 0;
}

}  // namespace

int orientation_of(Bytes exif, Bytes xmp) {
    if (const int orientation = exif_orientation(exif)) return orientation;
    return std::max(xmp_orientation(xmp), 1);
}

}  // namespace onecycle
