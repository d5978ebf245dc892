// probe_image and decode_image: which format it is, and what all formats share.
#include "onecycle/image.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "core/echoed.h"
#include "data/codecs.h"
#include "data/decode_budget.h"
#include "data/image_place.h"

namespace onecycle {

namespace {

bool starts_with(Bytes bytes, std::string_view prefix, std::size_t at = 0) {
    return bytes.size() >= at + prefix.size() &&
           std::memcmp(bytes.data() + at, prefix.data(), prefix.size()) == 0;
}

// What the file is instead: its first printable bytes.
std::string not_an_image(Bytes bytes) {
    if (starts_with(bytes, "ftyp", 4)) return "a video, not an image";
    if (std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t b) { return b == 0; }))
        return "not an image (all bytes are zero)";
    std::string start;
    for (std::size_t i = 0; i < std::min<std::size_t>(bytes.size(), 12); ++i) {
        if (bytes[i] == '\n' || bytes[i] == '\r' || bytes[i] == '>') {
            if (bytes[i] == '>') start += '>';
            break;
        }
        start += static_cast<char>(bytes[i]);
    }
    return "not an image (starts with '" + echoed(start) + "')";
}

// Either order of bytes, 32 or 64 bits (BigTIFF).
bool is_tiff(Bytes bytes) {
    using namespace std::string_view_literals;
    for (const std::string_view start : {"II*\0"sv, "MM\0*"sv, "II+\0"sv, "MM\0+"sv})
        if (starts_with(bytes, start)) return true;
    return false;
}

// A still image among the files that begin as this one, films too: one of the brands of AVIF and
// HEIC is named.
bool is_heif(Bytes bytes) {
    if (!starts_with(bytes, "ftyp", 4)) return false;
    const std::size_t end = std::min<std::size_t>({bytes.size(), big32(bytes, 0), 256});
    for (std::size_t at = 8; at + 4 <= end; at += 4)
        for (const char* brand :
             {"avif", "avis", "heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"})
            if (starts_with(bytes, brand, at)) return true;
    return false;
}

ImageProbe probe(Bytes bytes, const ImageLimits& limits) {
    if (bytes.empty()) throw DecodeError("empty file");
    check_file_size(bytes.size(), limits.max_file_bytes);
    if (starts_with(bytes, "\xFF\xD8\xFF")) return probe_jpeg(bytes, limits);
    if (starts_with(bytes, "\x89PNG\r\n\x1A\n")) return probe_png(bytes, limits);
    if (starts_with(bytes, "BM")) return probe_bmp(bytes, limits);
    if (starts_with(bytes, "GIF87a") || starts_with(bytes, "GIF89a")) return probe_gif(bytes, limits);
    if (is_pnm(bytes)) return probe_pnm(bytes, limits);
    if (starts_with(bytes, "RIFF") && starts_with(bytes, "WEBP", 8)) return probe_webp(bytes, limits);
    if (is_tiff(bytes)) return probe_tiff(bytes, limits);
    if (is_heif(bytes)) return probe_heif(bytes, limits);
    throw DecodeError(not_an_image(bytes));
}

Image decode(Bytes bytes, const ImageProbe& found, int min_short_side) {
    switch (found.format) {
        case ImageFormat::jpeg:
            return decode_jpeg(bytes, found, min_short_side);
        case ImageFormat::png:
            return decode_png(bytes, found);
        case ImageFormat::bmp:
            return decode_bmp(bytes, found);
        case ImageFormat::gif:
            return decode_gif(bytes, found);
        case ImageFormat::pnm:
            return decode_pnm(bytes, found);
        case ImageFormat::webp:
            return decode_webp(bytes, found);
        case ImageFormat::tiff:
            return decode_tiff(bytes, found);
        case ImageFormat::heif:
            break;
    }
    return decode_heif(bytes, found);
}

// EXIF orientations: where the pixel (x, y) of the upright image lies in the stored one.
Image upright(Image stored, int orientation) {
    if (orientation == 1) return stored;
    const int w = stored.width, h = stored.height;
    const bool swapped = orientation >= 5;
    Image image{swapped ? h : w, swapped ? w : h, std::vector<std::uint8_t>(stored.rgb.size()),
                stored.damaged};
    std::uint8_t* out = image.rgb.data();
    for (int y = 0; y < image.height; ++y)
        for (int x = 0; x < image.width; ++x, out += 3) {
            int sx = swapped ? y : x, sy = swapped ? x : y;
            if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) sx = w - 1 - sx;
            if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) sy = h - 1 - sy;
            std::memcpy(out, &stored.rgb[(static_cast<std::size_t>(sy) * w + sx) * 3], 3);
        }
    return image;
}

}  // namespace

ImageError::ImageError(const std::string& name, const std::string& reason)
    : Error(ErrorKind::data, "cannot use image", name, reason), reason_(reason) {}

void check_file_size(std::uint64_t bytes, std::size_t most) {
    if (bytes <= most) return;
    const std::int64_t pixels =
        std::max(ImageLimits{}.max_pixels + 1,
                 static_cast<std::int64_t>(std::min<std::uint64_t>(bytes, 1ull << 40) / 8 + 1));
    throw DecodeError("larger than " + std::to_string(most >> 20) + " MiB; --max-pixels " +
                      std::to_string(pixels) + " allows it");
}

ImageLimits limits_with(std::int64_t max_pixels) {
    ImageLimits limits;
    if (max_pixels > limits.max_pixels) limits.max_file_bytes = static_cast<std::size_t>(max_pixels) * 8;
    limits.max_pixels = max_pixels;
    return limits;
}

void check_dimensions(std::int64_t width, std::int64_t height, const ImageLimits& limits) {
    if (width < 1 || height < 1) throw DecodeError("damaged: an image without pixels");
    const std::string size = std::to_string(width) + " x " + std::to_string(height) + " pixels";
    if (width > limits.max_side || height > limits.max_side)
        throw DecodeError("too large: " + size + "; no side may be longer than " +
                          std::to_string(limits.max_side));
    if (width * height > limits.max_pixels)
        throw DecodeError("too large: " + size + "; --max-pixels " + std::to_string(width * height) +
                          " allows it");
}

ImageProbe probe_bytes(Bytes bytes, const ImageLimits& limits) {
    ImageProbe found = probe(bytes, limits);
    if (limits.memory) limits.memory->check(decode_bytes(found));
    if (found.format == ImageFormat::jpeg) {
        const DecodeBudget::Share share(limits.memory.get(),
                                        found.damaged ? decode_bytes(found) : found.work_bytes);
        if (found.damaged)
            found.damaged =
                decode_jpeg(bytes, found, 1).damaged;  // at an eighth of its size: that is quickest
        else
            check_jpeg_tables(bytes);
    }
    return found;
}

ImageProbe probe_image(std::span<const std::uint8_t> bytes, const std::string& name,
                       const ImageLimits& limits) {
    return named(name, [&] { return probe_bytes(bytes, limits); });
}

Image decode_image(std::span<const std::uint8_t> bytes, const std::string& name,
                   const DecodeOptions& options) {
    return named(name, [&] {
        const ImageProbe found = probe(bytes, options.limits);
        const DecodeBudget::Share share(options.limits.memory.get(), decode_bytes(found));
        return upright(decode(bytes, found, options.min_short_side), found.orientation);
    });
}

std::vector<std::uint8_t> read_image_bytes(const std::string& path, std::size_t max_bytes) {
    return named(path, [&] { return OpenImage(path).read(max_bytes); });
}

ImageFileStatus image_file_status(const std::string& path) {
    return named(path, [&] {
        const OpenImage file(path);
        return ImageFileStatus{file.bytes(), file.changed()};
    });
}

Image read_image(const std::string& path, const DecodeOptions& options) {
    return decode_image(read_image_bytes(path, options.limits.max_file_bytes), path, options);
}

Image rgb_from_inverted_cmyk(int width, int height, const std::vector<std::uint8_t>& cmyk) {
    Image image{width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(width) * height * 3)};
    for (std::size_t pixel = 0; pixel < image.rgb.size() / 3; ++pixel) {
        const int white = cmyk[4 * pixel + 3];
        for (std::size_t c = 0; c < 3; ++c) {
            const int ink = 255 - cmyk[4 * pixel + c];
            const int scaled = ink * white + 128;  // ink * white / 255, rounded
            image.rgb[3 * pixel + c] =
                static_cast<std::uint8_t>(std::clamp(white - ((scaled >> 8) + scaled) / 256, 0, 255));
        }
    }
    return image;
}

}  // namespace onecycle
