// TIFF by libtiff, which gives the samples of strips and tiles; what they mean is decided here as
// Pillow does. The first page; 1 to 16 bits; grey, palette, RGB, YCbCr, CMYK.
#include <tiffio.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "data/codecs.h"

namespace onecycle {

namespace {

struct Memory {
    Bytes bytes;
    std::size_t at = 0;
};

using File = std::unique_ptr<TIFF, decltype(&TIFFClose)>;

File open_tiff(Memory& memory) {
    // libtiff prints by default. Its handlers are the process's: they are turned off once and for
    // all.
    static std::once_flag silenced;
    std::call_once(silenced, [] {
        TIFFSetErrorHandler(nullptr);
        TIFFSetWarningHandler(nullptr);
    });
    const auto read = [](thandle_t handle, void* out, tmsize_t count) -> tmsize_t {
        Memory& m = *static_cast<Memory*>(handle);
        if (m.at > m.bytes.size() || count < 0) return 0;
        const std::size_t n = std::min(static_cast<std::size_t>(count), m.bytes.size() - m.at);
        std::memcpy(out, m.bytes.data() + m.at, n);
        m.at += n;
        return static_cast<tmsize_t>(n);
    };
    const auto write = [](thandle_t, void*, tmsize_t) -> tmsize_t { return -1; };
    const auto seek = [](thandle_t handle, toff_t offset, int whence) -> toff_t {
        Memory& m = *static_cast<Memory*>(handle);
        m.at = offset + (whence == SEEK_CUR ? m.at : whence == SEEK_END ? m.bytes.size() : 0);
        return m.at;
    };
    const auto close = [](thandle_t) { return 0; };
    const auto size = [](thandle_t handle) -> toff_t { return static_cast<Memory*>(handle)->bytes.size(); };
    // "m": read by the calls above, not by a map of the file.
    File file(TIFFClientOpen("image", "rm", &memory, read, write, seek, close, size, nullptr, nullptr),
              &TIFFClose);
    if (file == nullptr) throw DecodeError("truncated, or its directory is damaged");
    return file;
}

template <typename T>
T field(TIFF* tiff, std::uint32_t tag) {
    T value{};
    TIFFGetFieldDefaulted(tiff, tag, &value);
    return value;
}

// What the directory says of the samples.
struct Layout {
    std::uint32_t width = 0, height = 0;
    int bits = 1, samples = 1, photometric = 0, compression = 0;
    bool planes = false;                // each channel apart
    bool premultiplied = false;         // by alpha, which follows red, green and blue
    bool converted = false;             // libtiff makes RGBA of it: YCbCr, except in a JPEG
    std::vector<std::uint8_t> palette;  // RGB

    int colours() const {
        return photometric == PHOTOMETRIC_RGB || photometric == PHOTOMETRIC_YCBCR ? 3
               : photometric == PHOTOMETRIC_SEPARATED                             ? 4
                                                                                  : 1;
    }
};

Layout read_layout(TIFF* tiff, const ImageLimits& limits) {
    Layout l;
    l.width = field<std::uint32_t>(tiff, TIFFTAG_IMAGEWIDTH);
    l.height = field<std::uint32_t>(tiff, TIFFTAG_IMAGELENGTH);
    check_dimensions(l.width, l.height, limits);
    l.bits = field<std::uint16_t>(tiff, TIFFTAG_BITSPERSAMPLE);
    l.samples = field<std::uint16_t>(tiff, TIFFTAG_SAMPLESPERPIXEL);
    l.compression = field<std::uint16_t>(tiff, TIFFTAG_COMPRESSION);
    l.planes = field<std::uint16_t>(tiff, TIFFTAG_PLANARCONFIG) == PLANARCONFIG_SEPARATE && l.samples > 1;
    std::uint16_t photometric = PHOTOMETRIC_MINISWHITE;
    TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric);
    l.photometric = photometric;

    // What Pillow knows. Some decoders of the others make a picture of a size of its own.
    constexpr int known_compressions[] = {
        COMPRESSION_NONE,          COMPRESSION_CCITTRLE, COMPRESSION_CCITTFAX3, COMPRESSION_CCITTFAX4,
        COMPRESSION_LZW,           COMPRESSION_JPEG,     COMPRESSION_PACKBITS,  COMPRESSION_DEFLATE,
        COMPRESSION_ADOBE_DEFLATE, COMPRESSION_LZMA,     COMPRESSION_ZSTD,      COMPRESSION_WEBP};
    if (!TIFFIsCODECConfigured(static_cast<std::uint16_t>(l.compression)) ||
        std::find(std::begin(known_compressions), std::end(known_compressions), l.compression) ==
            std::end(known_compressions))
        throw DecodeError("a TIFF whose compression (" + std::to_string(l.compression) +
                          ") is not supported");
    if (field<std::uint16_t>(tiff, TIFFTAG_SAMPLEFORMAT) > SAMPLEFORMAT_INT ||
        (l.bits != 1 && l.bits != 2 && l.bits != 4 && l.bits != 8 && l.bits != 16))
        throw DecodeError("a TIFF whose samples are not whole numbers of 1, 2, 4, 8 or 16 bits");
    const bool known = l.photometric <= PHOTOMETRIC_PALETTE || l.photometric == PHOTOMETRIC_SEPARATED ||
                       l.photometric == PHOTOMETRIC_YCBCR;
    if (!known || l.samples < l.colours() || l.samples > 16 || (l.bits < 8 && l.samples > 1))
        throw DecodeError("a TIFF whose kind of colours is not supported");

    std::uint16_t extra_count = 0, *extra = nullptr;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &extra_count, &extra);
    l.premultiplied = l.photometric == PHOTOMETRIC_RGB && l.samples > 3 && extra_count > 0 &&
                      extra[0] == EXTRASAMPLE_ASSOCALPHA;
    if (l.photometric == PHOTOMETRIC_YCBCR) {
        if (l.bits != 8 || l.samples != 3) throw DecodeError("a TIFF whose kind of colours is not supported");
        if (l.compression == COMPRESSION_JPEG && !l.planes)
            TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
        else
            l.converted = true;
    }
    if (l.photometric == PHOTOMETRIC_PALETTE) {
        std::uint16_t* channels[3] = {};
        if (l.bits > 8 || !TIFFGetField(tiff, TIFFTAG_COLORMAP, &channels[0], &channels[1], &channels[2]))
            throw DecodeError("damaged: the palette is missing");
        for (std::size_t k = 0; k < std::size_t{1} << l.bits; ++k)
            for (const std::uint16_t* channel : channels)
                l.palette.push_back(static_cast<std::uint8_t>(channel[k] >> 8));
    }
    return l;
}

// A strip or a tile: its place in the picture.
struct Piece {
    std::uint32_t index = 0;
    std::uint32_t x = 0, y = 0, width = 0, height = 0;  // what of it lies in the picture
    int plane = 0;
};

std::uint32_t pixels_across(TIFF* tiff, const Layout& l) {
    return TIFFIsTiled(tiff) ? field<std::uint32_t>(tiff, TIFFTAG_TILEWIDTH) : l.width;
}

std::uint32_t rows_of_piece(TIFF* tiff, const Layout& l) {
    return TIFFIsTiled(tiff) ? field<std::uint32_t>(tiff, TIFFTAG_TILELENGTH)
                             : std::min(field<std::uint32_t>(tiff, TIFFTAG_ROWSPERSTRIP), l.height);
}

// Calls `take` for each piece. All rows of a piece are `stride` pixels wide.
void each_piece(TIFF* tiff, const Layout& l,
                const std::function<void(const Piece&, std::uint32_t stride)>& take) {
    const std::uint32_t across = pixels_across(tiff, l), down = rows_of_piece(tiff, l);
    if (across == 0 || down == 0) throw DecodeError("damaged: impossible strips or tiles");
    std::uint32_t index = 0;
    for (int plane = 0; plane < (l.planes ? l.samples : 1); ++plane)
        for (std::uint32_t y = 0; y < l.height; y += down)
            for (std::uint32_t x = 0; x < l.width; x += across, ++index)
                take({index, x, y, std::min(across, l.width - x), std::min(down, l.height - y), plane},
                     across);
}

std::uint64_t row_bytes(const Layout& l, std::uint32_t stride) {
    const auto samples = static_cast<std::uint64_t>(l.planes ? 1 : l.samples);
    return (stride * samples * static_cast<std::uint64_t>(l.bits) + 7) / 8;
}

// Whether the bytes of every piece lie in the file. Returns the most that one of them has.
std::uint64_t check_extent(TIFF* tiff, const Layout& l, Bytes file) {
    std::uint64_t most = 0;
    const std::uint32_t count = TIFFIsTiled(tiff) ? TIFFNumberOfTiles(tiff) : TIFFNumberOfStrips(tiff);
    each_piece(tiff, l, [&](const Piece& piece, std::uint32_t stride) {
        if (piece.index >= count) throw DecodeError("damaged: strips or tiles are missing");
        const std::uint64_t begin = TIFFGetStrileOffset(tiff, piece.index);
        std::uint64_t bytes = TIFFGetStrileByteCount(tiff, piece.index);
        if (l.compression == COMPRESSION_NONE && !l.converted) {
            // Some writers give whole strips' counts to the last one, too.
            const std::uint64_t needed = row_bytes(l, stride) * piece.height;
            if (bytes > 0 && bytes < needed) throw DecodeError("damaged: a strip or tile is too short");
            bytes = needed;
        }
        if (begin == 0 || bytes == 0) throw DecodeError("damaged: strips or tiles are missing");
        if (begin > file.size() || bytes > file.size() - begin) throw DecodeError("truncated");
        most = std::max(most, bytes);
        if (l.compression != COMPRESSION_WEBP) return;
        // libtiff lets it be of any size.
        ImageLimits whole_piece;
        whole_piece.max_pixels = INT64_MAX;
        const ImageProbe webp = probe_webp(
            file.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(bytes)), whole_piece);
        if (static_cast<std::uint32_t>(webp.width) > stride ||
            static_cast<std::uint32_t>(webp.height) > rows_of_piece(tiff, l))
            throw DecodeError("damaged: a strip or tile holds a picture of another size");
    });
    return most;
}

// What decoding a piece holds: its samples, what its codec keeps, and RGBA where libtiff makes it.
std::uint64_t piece_bytes(TIFF* tiff, const Layout& l) {
    const std::uint64_t samples = TIFFIsTiled(tiff) ? TIFFTileSize64(tiff) : TIFFStripSize64(tiff);
    const std::uint64_t pixels = std::uint64_t{pixels_across(tiff, l)} * rows_of_piece(tiff, l);
    std::uint64_t bytes = samples;
    // The coefficients of a progressive JPEG; a lossless WebP in its colours, and as bytes.
    if (l.compression == COMPRESSION_JPEG) bytes += 2 * samples;
    if (l.compression == COMPRESSION_WEBP) bytes += 8 * pixels;
    if (l.converted) bytes += 4 * pixels + (l.planes ? 2 * samples : 0);
    // A tile may be larger than the picture, within reason.
    constexpr std::uint64_t always = std::uint64_t{32} << 20, for_a_pixel = 32;
    if (samples == 0 || pixels > std::uint64_t{1} << 40 ||
        bytes > std::max(always, for_a_pixel * l.width * l.height))
        throw DecodeError("too large: its strips or tiles are much larger than the picture");
    return bytes;
}

// Turns the samples of a piece into pixels.
class Painter {
  public:
    Painter(const Layout& layout, Image& image) : l_(layout), image_(image) {
        if (l_.colours() == 4) cmyk_.resize(image.rgb.size() / 3 * 4);
    }

    void paint(const Piece& piece, std::uint32_t stride, const std::uint8_t* data) {
        const auto step = static_cast<std::size_t>(l_.planes ? 1 : l_.samples);
        const std::uint64_t row = row_bytes(l_, stride);
        for (std::uint32_t y = 0; y < piece.height; ++y)
            for (std::uint32_t x = 0; x < piece.width; ++x) {
                const std::size_t pixel = std::size_t{piece.y + y} * l_.width + piece.x + x;
                const std::uint8_t* samples = data + y * row;
                const std::size_t first = x * step;
                if (l_.planes) {
                    if (piece.plane < l_.colours())
                        set(pixel, static_cast<std::size_t>(piece.plane), samples, first);
                } else {
                    for (std::size_t c = 0; c < static_cast<std::size_t>(l_.colours()); ++c)
                        set(pixel, c, samples, first + c);
                    if (l_.premultiplied) divide(pixel, value(samples, first + 3));
                }
            }
    }

    void finish() {
        if (!cmyk_.empty()) image_ = rgb_from_inverted_cmyk(image_.width, image_.height, cmyk_);
    }

  private:
    // 0..255, or the index in a palette.
    int value(const std::uint8_t* samples, std::size_t k) const {
        if (l_.bits == 8) return samples[k];
        if (l_.bits == 16) {
            std::uint16_t sample;
            std::memcpy(&sample, samples + 2 * k, 2);  // in the machine's order: libtiff has seen to that
            return sample >> 8;
        }
        const auto bits = static_cast<std::size_t>(l_.bits);
        const int most = (1 << bits) - 1;
        const int raw = samples[k * bits / 8] >> (8 - bits - k * bits % 8) & most;
        return l_.palette.empty() ? raw * 255 / most : raw;
    }

    void set(std::size_t pixel, std::size_t channel, const std::uint8_t* samples, std::size_t k) {
        const int v = value(samples, k);
        if (!cmyk_.empty()) {
            cmyk_[4 * pixel + channel] = static_cast<std::uint8_t>(255 - v);
        } else if (l_.colours() == 3) {
            image_.rgb[3 * pixel + channel] = static_cast<std::uint8_t>(v);
        } else {
            for (std::size_t c = 0; c < 3; ++c)
                image_.rgb[3 * pixel + c] =
                    !l_.palette.empty() ? l_.palette[3 * static_cast<std::size_t>(v) + c]
                    : l_.photometric == PHOTOMETRIC_MINISWHITE ? static_cast<std::uint8_t>(255 - v)
                                                               : static_cast<std::uint8_t>(v);
        }
    }

    void divide(std::size_t pixel, int alpha) {
        for (std::size_t c = 0; c < 3; ++c) {
            std::uint8_t& v = image_.rgb[3 * pixel + c];
            v = alpha == 0 ? 0 : static_cast<std::uint8_t>(std::min(v * 255 / alpha, 255));
        }
    }

    const Layout& l_;
    Image& image_;
    std::vector<std::uint8_t> cmyk_;  // inverted
};

// The pieces as RGBA by libtiff, from top to bottom.
void paint_converted(TIFF* tiff, const Layout& l, Image& image) {
    std::vector<std::uint32_t> rgba;
    const bool tiled = TIFFIsTiled(tiff) != 0;
    each_piece(tiff, l, [&](const Piece& piece, std::uint32_t stride) {
        if (piece.plane > 0) return;
        const std::uint32_t down = tiled ? field<std::uint32_t>(tiff, TIFFTAG_TILELENGTH) : piece.height;
        rgba.resize(std::size_t{stride} * down);
        const int done = tiled ? TIFFReadRGBATileExt(tiff, piece.x, piece.y, rgba.data(), 1)
                               : TIFFReadRGBAStripExt(tiff, piece.y, rgba.data(), 1);
        if (!done) throw DecodeError("damaged: the image data are not valid");
        for (std::uint32_t y = 0; y < piece.height; ++y)
            for (std::uint32_t x = 0; x < piece.width; ++x) {
                const std::uint32_t v =
                    rgba[std::size_t{down - 1 - y} * stride + x];  // the last row comes first
                std::uint8_t* out = &image.rgb[3 * (std::size_t{piece.y + y} * l.width + piece.x + x)];
                out[0] = TIFFGetR(v), out[1] = TIFFGetG(v), out[2] = TIFFGetB(v);
            }
    });
}

void paint_samples(TIFF* tiff, const Layout& l, Image& image) {
    const bool tiled = TIFFIsTiled(tiff) != 0;
    const tmsize_t size = tiled ? TIFFTileSize(tiff) : TIFFStripSize(tiff);
    if (size <= 0) throw DecodeError("damaged: impossible strips or tiles");
    std::vector<std::uint8_t> data(static_cast<std::size_t>(size));
    Painter painter(l, image);
    each_piece(tiff, l, [&](const Piece& piece, std::uint32_t stride) {
        const auto needed = static_cast<tmsize_t>(row_bytes(l, stride) * piece.height);
        if (needed > size) throw DecodeError("damaged: impossible strips or tiles");
        const tmsize_t got = tiled ? TIFFReadEncodedTile(tiff, piece.index, data.data(), size)
                                   : TIFFReadEncodedStrip(tiff, piece.index, data.data(), needed);
        if (got < needed) throw DecodeError("damaged: the image data are not valid");
        painter.paint(piece, stride, data.data());
    });
    painter.finish();
}

}  // namespace

ImageProbe probe_tiff(Bytes bytes, const ImageLimits& limits) {
    walk_tiff(bytes);
    Memory memory{bytes};
    const File file = open_tiff(memory);
    const Layout l = read_layout(file.get(), limits);
    const std::uint64_t piece = piece_bytes(file.get(), l);
    const std::uint64_t stored = check_extent(file.get(), l, bytes);
    ImageProbe probe;
    probe.format = ImageFormat::tiff;
    probe.width = static_cast<int>(l.width);
    probe.height = static_cast<int>(l.height);
    probe.channels = std::min(l.samples, 4);
    probe.bit_depth = l.bits;
    // libtiff copies a piece as it stands in the file; inks are mixed into a picture of their own.
    probe.work_bytes = piece + stored + (l.colours() == 4 ? std::uint64_t{7} * l.width * l.height : 0);
    std::uint16_t orientation = 0;
    if (TIFFGetField(file.get(), TIFFTAG_ORIENTATION, &orientation)) {
        probe.orientation = orientation >= 1 && orientation <= 8 ? orientation : 1;
    } else {
        std::uint32_t size = 0;
        const std::uint8_t* xmp = nullptr;
        if (TIFFGetField(file.get(), TIFFTAG_XMLPACKET, &size, &xmp))
            probe.orientation = orientation_of({}, {xmp, size});
    }
    return probe;
}

Image decode_tiff(Bytes bytes, const ImageProbe& probe) {
    ImageLimits none;  // the probe has applied the caller's
    none.max_side = INT32_MAX;
    none.max_pixels = INT64_MAX;
    Memory memory{bytes};
    const File file = open_tiff(memory);
    const Layout l = read_layout(file.get(), none);
    Image image{probe.width, probe.height, {}};
    image.rgb.resize(static_cast<std::size_t>(probe.width) * static_cast<std::size_t>(probe.height) * 3);
    if (l.converted)
        paint_converted(file.get(), l, image);
    else
        paint_samples(file.get(), l, image);
    return image;
}

std::string tiff_decoder() {
    return "libtiff " ONECYCLE_TIFF_VERSION;
}

}  // namespace onecycle
