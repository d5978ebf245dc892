// WebP by libwebp: the first frame, through the same interface as Pillow uses, so the pixels are
// Pillow's.
#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>
#include <string_view>

#include "data/codecs.h"

namespace onecycle {

namespace {

struct WebpFile {
    Bytes whole;  // without what follows it
    Bytes exif, xmp;
};

// Walks over the chunks of the RIFF container.
WebpFile walk(Bytes bytes) {
    if (bytes.size() < 20) throw DecodeError("truncated");
    const std::size_t end = 8 + std::size_t{little32(bytes, 4)};
    if (end > bytes.size()) throw DecodeError("truncated");
    WebpFile file{bytes.first(end), {}, {}};
    bool seen_image = false;
    for (std::size_t at = 12; at < end;) {
        if (end - at < 8) throw DecodeError("damaged: a chunk without a length");
        const std::string_view type(reinterpret_cast<const char*>(bytes.data()) + at, 4);
        const std::size_t size = little32(bytes, at + 4);
        if (size > end - at - 8) throw DecodeError("damaged: a chunk that is longer than the file");
        const Bytes data = bytes.subspan(at + 8, size);
        if (type == "EXIF")
            file.exif = data;
        else if (type == "XMP ")
            file.xmp = data;
        seen_image = seen_image || type == "VP8 " || type == "VP8L" || type == "ANMF";
        at += 8 + size + size % 2;
    }
    if (!seen_image) throw DecodeError("holds no image data");
    // Some writers repeat here how EXIF begins in a JPEG.
    constexpr std::string_view prefix("Exif\0\0", 6);
    if (file.exif.size() >= 6 &&
        std::string_view(reinterpret_cast<const char*>(file.exif.data()), 6) == prefix)
        file.exif = file.exif.subspan(6);
    return file;
}

}  // namespace

ImageProbe probe_webp(Bytes bytes, const ImageLimits& limits) {
    const WebpFile file = walk(bytes);
    WebPBitstreamFeatures features;
    if (WebPGetFeatures(file.whole.data(), file.whole.size(), &features) != VP8_STATUS_OK)
        throw DecodeError("damaged: the header has values that WebP does not know");
    check_dimensions(features.width, features.height, limits);
    ImageProbe probe;
    probe.format = ImageFormat::webp;
    probe.width = features.width;
    probe.height = features.height;
    probe.channels = features.has_alpha ? 4 : 3;
    // The decoder of animations holds this frame and the one before it as RGBA.
    probe.work_bytes =
        std::uint64_t{8} * static_cast<std::uint64_t>(probe.width) * static_cast<std::uint64_t>(probe.height);
    probe.orientation = orientation_of(file.exif, file.xmp);
    return probe;
}

Image decode_webp(Bytes bytes, const ImageProbe& probe) {
    const Bytes whole = walk(bytes).whole;
    const WebPData data{whole.data(), whole.size()};
    WebPAnimDecoderOptions options;
    WebPAnimDecoderOptionsInit(&options);
    options.color_mode = MODE_RGBA;
    const std::unique_ptr<WebPAnimDecoder, decltype(&WebPAnimDecoderDelete)> decoder(
        WebPAnimDecoderNew(&data, &options), &WebPAnimDecoderDelete);
    WebPAnimInfo info;
    if (decoder == nullptr || !WebPAnimDecoderGetInfo(decoder.get(), &info) ||
        info.canvas_width != static_cast<std::uint32_t>(probe.width) ||
        info.canvas_height != static_cast<std::uint32_t>(probe.height))
        throw DecodeError("damaged: the frames do not fit the header");
    std::uint8_t* rgba = nullptr;
    int time = 0;
    if (!WebPAnimDecoderGetNext(decoder.get(), &rgba, &time))
        throw DecodeError("damaged: the image data are not valid");
    const std::size_t pixels = static_cast<std::size_t>(probe.width) * static_cast<std::size_t>(probe.height);
    Image image{probe.width, probe.height, std::vector<std::uint8_t>(3 * pixels)};
    for (std::size_t k = 0; k < pixels; ++k)
        for (std::size_t c = 0; c < 3; ++c) image.rgb[3 * k + c] = rgba[4 * k + c];
    return image;
}

std::string webp_decoder() {
    return "libwebp " ONECYCLE_WEBP_VERSION;
}

}  // namespace onecycle
