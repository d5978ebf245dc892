// BMP, whole: uncompressed with 1 to 32 bits a pixel, and run-length coded. Our own, since it is
// short, and stb_image reads palette entries that were never written and refuses a gap before the
// pixels.
#include <algorithm>
#include <bit>

#include "data/codecs.h"

namespace onecycle {

namespace {

struct BmpHeader {
    std::int64_t width = 0, height = 0;
    bool bottom_up = true;
    int bits = 0;  // per pixel
    bool run_length = false;
    std::size_t pixels_at = 0, palette_at = 0, palette_entries = 0, palette_step = 4;
    std::size_t row_bytes = 0;
    std::uint32_t masks[3] = {0, 0, 0};  // red, green, blue; for 16 and 32 bits
};

BmpHeader read_header(Bytes bytes, const ImageLimits& limits) {
    if (bytes.size() < 26) throw DecodeError("truncated");
    BmpHeader h;
    const std::size_t header_size = little32(bytes, 14);
    h.pixels_at = little32(bytes, 10);
    if (header_size > 124 || (header_size != 12 && header_size < 40))
        throw DecodeError("damaged: a BMP header of unknown size");
    if (bytes.size() < 14 + header_size) throw DecodeError("truncated");
    std::uint32_t compression = 0;
    if (header_size == 12) {
        h.width = little16(bytes, 18);
        h.height = little16(bytes, 20);
        h.bits = static_cast<int>(little16(bytes, 24));
        h.palette_step = 3;
    } else {
        h.width = static_cast<std::int32_t>(little32(bytes, 18));
        h.height = static_cast<std::int32_t>(little32(bytes, 22));
        h.bits = static_cast<int>(little16(bytes, 28));
        compression = little32(bytes, 30);
        h.palette_entries = little32(bytes, 46);
        h.bottom_up = h.height > 0;
        if (h.height < 0) h.height = -h.height;
    }
    check_dimensions(h.width, h.height, limits);
    h.run_length = compression == 1 || compression == 2;
    if (compression > 3 || (h.run_length && h.bits != (compression == 1 ? 8 : 4)))
        throw DecodeError("a BMP of unknown compression");
    h.palette_at = 14 + header_size;
    if (h.bits == 16 || h.bits == 32) {
        if (compression == 3) {
            // The masks stand behind a header of 40 bytes, and inside the longer ones: the same
            // place.
            if (bytes.size() < 54 + 12) throw DecodeError("truncated");
            for (int c = 0; c < 3; ++c) h.masks[c] = little32(bytes, 54 + 4 * static_cast<std::size_t>(c));
        } else {
            const std::uint32_t low = h.bits == 16 ? 0x1F : 0xFF;
            const int step = h.bits == 16 ? 5 : 8;
            for (int c = 0; c < 3; ++c) h.masks[c] = low << (step * (2 - c));
        }
        for (const std::uint32_t mask : h.masks) {
            // One run of at most 8 bits.
            const std::uint32_t run = mask == 0 ? 0 : mask >> std::countr_zero(mask);
            if (run == 0 || run > 0xFF || (run & (run + 1)) != 0)
                throw DecodeError("a BMP of unusual colour masks");
        }
    } else if (h.bits == 1 || h.bits == 4 || h.bits == 8) {
        const std::size_t most = std::size_t{1} << h.bits;
        if (h.palette_entries == 0 || h.palette_entries > most) h.palette_entries = most;
        if (bytes.size() < h.palette_at + h.palette_entries * h.palette_step) throw DecodeError("truncated");
    } else if (h.bits != 24) {
        throw DecodeError("a BMP of " + std::to_string(h.bits) + " bits a pixel");
    }
    h.row_bytes = (static_cast<std::size_t>(h.width) * static_cast<std::size_t>(h.bits) + 31) / 32 * 4;
    if (h.pixels_at < h.palette_at) throw DecodeError("damaged: the pixels overlap the header");
    if (h.pixels_at > bytes.size()) throw DecodeError("truncated");
    if (h.run_length) {
        // Of these alone, the length of the data stands in the header.
        if (little32(bytes, 34) > bytes.size() - h.pixels_at) throw DecodeError("truncated");
    } else if ((bytes.size() - h.pixels_at) / h.row_bytes < static_cast<std::size_t>(h.height))
        throw DecodeError("truncated");
    return h;
}

// The palette indices, a byte each, in the order in which rows are stored, as Pillow expands them:
// what the runs leave out is 0, and a run that is too long for its row is cut.
std::vector<std::uint8_t> expand_runs(Bytes bytes, const BmpHeader& h) {
    const auto width = static_cast<std::size_t>(h.width), area = width * static_cast<std::size_t>(h.height);
    const bool nibbles = h.bits == 4;
    std::vector<std::uint8_t> out;
    out.reserve(area);
    std::size_t at = h.pixels_at, x = 0;
    const auto take = [&](std::size_t count) {
        if (bytes.size() - at < count) throw DecodeError("truncated");
        at += count;
        return bytes.subspan(at - count, count);
    };
    const auto fill = [&](std::size_t count) { out.resize(out.size() + std::min(count, area - out.size())); };
    while (out.size() < area) {
        const Bytes code = take(2);
        const std::size_t count = code[0], value = code[1];
        if (count > 0) {  // a run
            const std::size_t length = x + count > width ? width - std::min(x, width) : count;
            for (std::size_t k = 0; k < length && out.size() < area; ++k)
                out.push_back(static_cast<std::uint8_t>(!nibbles     ? value
                                                        : k % 2 == 0 ? value >> 4
                                                                     : value & 15));
            x += length;
        } else if (value == 0) {  // the end of the row
            fill((width - out.size() % width) % width);
            x = 0;
        } else if (value == 1) {
            throw DecodeError("damaged: the image data end early");
        } else if (value == 2) {  // to the right and up
            const Bytes step = take(2);
            fill(step[0] + step[1] * width);
            x = out.size() % width;
        } else {  // pixels as they are, to a whole number of 16-bit words
            const std::size_t pixels = std::min(value, area - out.size());
            const Bytes data = take(nibbles ? (pixels + 1) / 2 : pixels);
            for (std::size_t k = 0; k < pixels; ++k)
                out.push_back(!nibbles ? data[k]
                                       : static_cast<std::uint8_t>(data[k / 2] >> (k % 2 == 0 ? 4 : 0) & 15));
            x += value;
            if (at % 2 != 0 && out.size() < area) take(1);
        }
    }
    return out;
}

// A masked value scaled to 0..255, rounded down as Pillow does.
std::uint8_t channel(std::uint32_t pixel, std::uint32_t mask) {
    const int shift = std::countr_zero(mask);
    return static_cast<std::uint8_t>(((pixel & mask) >> shift) * 255 / (mask >> shift));
}

}  // namespace

ImageProbe probe_bmp(Bytes bytes, const ImageLimits& limits) {
    const BmpHeader h = read_header(bytes, limits);
    if (h.run_length) expand_runs(bytes, h);  // whether the data are whole shows in no other way
    ImageProbe probe;
    probe.format = ImageFormat::bmp;
    probe.width = static_cast<int>(h.width);
    probe.height = static_cast<int>(h.height);
    probe.channels = h.bits <= 8 ? 1 : 3;
    probe.bit_depth = h.bits <= 8 ? h.bits : 8;
    return probe;
}

Image decode_bmp(Bytes bytes, const ImageProbe&) {
    ImageLimits none;  // the probe has applied the caller's
    none.max_side = INT32_MAX;
    none.max_pixels = INT64_MAX;
    BmpHeader h = read_header(bytes, none);
    std::vector<std::uint8_t> expanded;
    Bytes pixels = bytes.subspan(h.pixels_at);
    if (h.run_length) {
        pixels = expanded = expand_runs(bytes, h);
        h.bits = 8;
        h.row_bytes = static_cast<std::size_t>(h.width);
    }
    Image image{static_cast<int>(h.width), static_cast<int>(h.height), {}};
    image.rgb.resize(static_cast<std::size_t>(h.width * h.height) * 3);
    std::uint8_t* out = image.rgb.data();
    for (std::int64_t y = 0; y < h.height; ++y) {
        const std::size_t row_index = static_cast<std::size_t>(h.bottom_up ? h.height - 1 - y : y);
        const Bytes row = pixels.subspan(row_index * h.row_bytes, h.row_bytes);
        for (std::size_t x = 0; x < static_cast<std::size_t>(h.width); ++x, out += 3) {
            if (h.bits <= 8) {
                const std::size_t bit = x * static_cast<std::size_t>(h.bits);
                const int shift = 8 - h.bits - static_cast<int>(bit % 8);
                const std::size_t index = (row[bit / 8] >> shift) & ((1u << h.bits) - 1);
                if (index >= h.palette_entries) continue;  // black
                const std::size_t entry = h.palette_at + index * h.palette_step;
                for (std::size_t c = 0; c < 3; ++c) out[c] = bytes[entry + 2 - c];
            } else if (h.bits == 24) {
                for (std::size_t c = 0; c < 3; ++c) out[c] = row[3 * x + 2 - c];
            } else {
                const std::uint32_t pixel = h.bits == 16 ? little16(row, 2 * x) : little32(row, 4 * x);
                for (std::size_t c = 0; c < 3; ++c) out[c] = channel(pixel, h.masks[c]);
            }
        }
    }
    return image;
}

}  // namespace onecycle
