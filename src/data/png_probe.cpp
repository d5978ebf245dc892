// The walk over a PNG's chunks (W3C PNG specification): order, CRCs, legal headers, and no bombs.
#include <zlib.h>

#include <string_view>

#include "data/codecs.h"

namespace onecycle {

namespace {

std::uint32_t crc32(Bytes bytes) {
    return static_cast<std::uint32_t>(::crc32_z(0, bytes.data(), bytes.size()));
}

struct Chunk {
    std::string_view type;  // four letters
    Bytes data;
    Bytes whole;  // length, type, data, CRC
};

constexpr std::size_t signature_size = 8;

// The chunk at `at`, which moves behind it.
Chunk next_chunk(Bytes bytes, std::size_t& at) {
    if (bytes.size() - at < 12) throw Refusal("truncated");
    const std::size_t length = big32(bytes, at);
    if (length > bytes.size() - at - 12) throw Refusal("truncated, or a damaged chunk length");
    Chunk chunk;
    chunk.type = {reinterpret_cast<const char*>(bytes.data()) + at + 4, 4};
    chunk.data = bytes.subspan(at + 8, length);
    chunk.whole = bytes.subspan(at, length + 12);
    at += length + 12;
    return chunk;
}

void check_crc(const Chunk& chunk) {
    const std::size_t covered = chunk.whole.size() - 8;  // type and data
    if (crc32(chunk.whole.subspan(4, covered)) != big32(chunk.whole, 4 + covered))
        throw Refusal("damaged: wrong CRC");
}

void read_header(Bytes ihdr, const ImageLimits& limits, ImageProbe& probe, int& colour_type,
                 bool& interlaced) {
    if (ihdr.size() != 13) throw Refusal("damaged: the header has a wrong length");
    const std::uint32_t width = big32(ihdr, 0), height = big32(ihdr, 4);
    check_dimensions(width, height, limits);
    probe.format = ImageFormat::png;
    probe.width = static_cast<int>(width);
    probe.height = static_cast<int>(height);
    probe.bit_depth = ihdr[8];
    colour_type = ihdr[9];
    interlaced = ihdr[12] == 1;
    const int depth = probe.bit_depth;
    const bool byte_depth = depth == 8 || depth == 16;
    const bool small_depth = depth == 1 || depth == 2 || depth == 4;
    bool legal = false;
    switch (colour_type) {
        case 0:
            probe.channels = 1, legal = byte_depth || small_depth;
            break;
        case 2:
            probe.channels = 3, legal = byte_depth;
            break;
        case 3:
            probe.channels = 1, legal = depth == 8 || small_depth;
            break;
        case 4:
            probe.channels = 2, legal = byte_depth;
            break;
        case 6:
            probe.channels = 4, legal = byte_depth;
            break;
    }
    if (!legal || ihdr[10] != 0 || ihdr[11] != 0 || ihdr[12] > 1)
        throw Refusal("damaged: the header has values that PNG does not know");
}

// Bytes after inflating: each row has one filter byte; seven passes when interlaced (Adam7).
std::int64_t raw_size(const ImageProbe& probe, bool interlaced) {
    const auto pass = [&](std::int64_t width, std::int64_t height) -> std::int64_t {
        if (width == 0 || height == 0) return 0;
        return height * (1 + (width * probe.channels * probe.bit_depth + 7) / 8);
    };
    const std::int64_t w = probe.width, h = probe.height;
    if (!interlaced) return pass(w, h);
    return pass((w + 7) / 8, (h + 7) / 8) + pass((w + 3) / 8, (h + 7) / 8) + pass((w + 3) / 4, (h + 3) / 8) +
           pass((w + 1) / 4, (h + 3) / 4) + pass((w + 1) / 2, (h + 1) / 4) + pass(w / 2, (h + 1) / 2) +
           pass(w, h / 2);
}

}  // namespace

ImageProbe probe_png(Bytes bytes, const ImageLimits& limits) {
    ImageProbe probe;
    int colour_type = 0;
    bool interlaced = false, seen_palette = false;
    enum { before_header, before_data, in_data, after_data } place = before_header;
    std::int64_t data_bytes = 0;
    for (std::size_t at = signature_size;;) {
        const Chunk chunk = next_chunk(bytes, at);
        check_crc(chunk);
        if (place == before_header) {
            if (chunk.type != "IHDR") throw Refusal("damaged: the first chunk is not the header");
            read_header(chunk.data, limits, probe, colour_type, interlaced);
            place = before_data;
            continue;
        }
        if (chunk.type == "IDAT") {
            if (place == after_data) throw Refusal("damaged: image data in two places");
            place = in_data;
            data_bytes += static_cast<std::int64_t>(chunk.data.size());
            continue;
        }
        if (place == in_data) place = after_data;
        if (chunk.type == "IEND") break;
        if (chunk.type == "PLTE") {
            const std::size_t size = chunk.data.size();
            if (seen_palette || place != before_data || size == 0 || size % 3 != 0 || size > 768)
                throw Refusal("damaged: the palette is not legal");
            seen_palette = true;
        } else if (chunk.type == "eXIf") {
            probe.orientation = orientation_of(chunk.data, {});
        } else if (chunk.type[0] >= 'A' && chunk.type[0] <= 'Z') {
            throw Refusal("damaged: an unknown critical chunk");
        }
    }
    if (data_bytes == 0) throw Refusal("holds no image data");
    if (colour_type == 3 && !seen_palette) throw Refusal("damaged: the palette is missing");
    // Deflate expands by 1032 at most.
    if (raw_size(probe, interlaced) > 1032 * data_bytes)
        throw Refusal("too few bytes for its " + std::to_string(probe.width) + " x " +
                      std::to_string(probe.height) + " pixels");
    return probe;
}

std::vector<std::uint8_t> essential_png(Bytes bytes) {
    std::vector<std::uint8_t> out(bytes.begin(), bytes.begin() + signature_size);
    out.reserve(bytes.size() + 768);
    for (std::size_t at = signature_size;;) {
        const Chunk chunk = next_chunk(bytes, at);
        if (chunk.type == "PLTE") {
            const std::uint8_t head[] = {0, 0, 3, 0, 'P', 'L', 'T', 'E'};  // 768 bytes: 256 entries
            out.insert(out.end(), std::begin(head), std::end(head));
            out.insert(out.end(), chunk.data.begin(), chunk.data.end());
            out.resize(out.size() + 768 - chunk.data.size() + 4);  // black entries; stb_image skips the CRC
        } else if (chunk.type == "IHDR" || chunk.type == "IEND" ||
                   (chunk.type == "IDAT" && !chunk.data.empty())) {
            out.insert(out.end(), chunk.whole.begin(), chunk.whole.end());
        }
        if (chunk.type == "IEND") return out;
    }
}

}  // namespace onecycle
