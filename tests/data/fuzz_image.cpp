// libFuzzer target: a file of any bytes is decoded to pixels of the size that its header gives, or
// refused by an ImageError. See scripts/fuzz.
#include <algorithm>
#include <cstdint>
#include <exception>

#include "onecycle/image.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace onecycle;
    DecodeOptions options;
    options.limits.max_pixels = 1 << 20;  // larger ones take the same way, only longer
    options.min_short_side = size % 2 == 0 ? 0 : 16;
    try {
        const ImageProbe probe = probe_image({data, size}, "", options.limits);
        const Image image = decode_image({data, size}, "", options);
        if (image.rgb.size() !=
            static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3)
            std::terminate();
        const bool whole = probe.format != ImageFormat::jpeg || options.min_short_side == 0;
        if (whole && std::minmax(image.width, image.height) != std::minmax(probe.width, probe.height))
            std::terminate();
    } catch (const ImageError&) {
    }
    return 0;
}
