// JPEG by libjpeg-turbo: accurate inverse DCT and smooth ("fancy") chroma upsampling, which are its
// defaults and Pillow's, so the pixels are Pillow's.
#include <turbojpeg.h>

#include <memory>
#include <new>
#include <string_view>

#include "data/codecs.h"

namespace onecycle {

Image decode_jpeg(Bytes bytes, const ImageProbe& probe, int min_short_side) {
    const std::unique_ptr<void, int (*)(tjhandle)> decoder(tjInitDecompress(), &tjDestroy);
    if (decoder == nullptr) throw std::bad_alloc();

    int width = probe.width, height = probe.height;
    if (min_short_side > 0)
        for (const int denominator : {2, 4, 8}) {
            const tjscalingfactor half{1, denominator};
            const int w = TJSCALED(probe.width, half), h = TJSCALED(probe.height, half);
            if (w >= min_short_side && h >= min_short_side) width = w, height = h;
        }

    const int format = probe.channels == 4 ? TJPF_CMYK : TJPF_RGB;
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(width) * height * tjPixelSize[format]);
    if (tjDecompress2(decoder.get(), bytes.data(), bytes.size(), pixels.data(), width, 0, height, format,
                      0) != 0) {
        // A warning is damage that decoders pass over (stray bytes between segments); but the end of the
        // data before the end of the picture means that the rest of it is grey.
        const std::string_view message = tjGetErrorStr2(decoder.get());
        if (tjGetErrorCode(decoder.get()) == TJERR_FATAL) throw Refusal("damaged: " + std::string(message));
        if (message.find("remature end") != message.npos) throw Refusal("truncated");
    }
    if (format == TJPF_CMYK) return rgb_from_inverted_cmyk(width, height, pixels);
    return {width, height, std::move(pixels)};
}

std::string jpeg_decoder() {
    return "libjpeg-turbo " ONECYCLE_TURBOJPEG_VERSION;
}

}  // namespace onecycle
