// The walk over a PNG's chunks (W3C PNG specification): order, CRCs, legal headers, and no bombs.
#include <zlib.h>

#include <array>
#include <cstring>
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
    if (bytes.size() - at < 12) throw DecodeError("truncated");
    const std::size_t length = big32(bytes, at);
    if (length > bytes.size() - at - 12) throw DecodeError("truncated, or a damaged chunk length");
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
        throw DecodeError("damaged: wrong CRC");
}

void read_header(Bytes ihdr, const ImageLimits& limits, ImageProbe& probe, int& colour_type,
                 bool& interlaced) {
    if (ihdr.size() != 13) throw DecodeError("damaged: the header has a wrong length");
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
        throw DecodeError("damaged: the header has values that PNG does not know");
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

// Inflates pieces and throws away what comes out.
class InflateStream {
  public:
    InflateStream() { ::inflateInit(&stream_); }
    ~InflateStream() { ::inflateEnd(&stream_); }
    InflateStream(const InflateStream&) = delete;
    InflateStream& operator=(const InflateStream&) = delete;

    // The number of bytes that the piece gave, also to `text` where it is not null, and up to
    // `most`.
    std::int64_t inflate(Bytes piece, std::string* text = nullptr, std::size_t most = SIZE_MAX) {
        std::array<unsigned char, 16384> out;
        stream_.next_in = const_cast<unsigned char*>(piece.data());
        stream_.avail_in = static_cast<unsigned>(piece.size());
        std::int64_t count = 0;
        for (int state = Z_OK; state == Z_OK && static_cast<std::size_t>(count) < most;) {
            stream_.next_out = out.data();
            stream_.avail_out = out.size();
            state = ::inflate(&stream_, Z_NO_FLUSH);
            const std::size_t got = out.size() - stream_.avail_out;
            if (text != nullptr) text->append(reinterpret_cast<const char*>(out.data()), got);
            count += static_cast<std::int64_t>(got);
            if (got == 0 && stream_.avail_in == 0) break;
        }
        return count;
    }

  private:
    z_stream stream_{};
};

// The XMP in a chunk of international text, else nothing: a keyword, two bytes on compression, a
// language, the keyword in that language, the text.
std::string png_xmp(Bytes chunk) {
    const std::string_view all(reinterpret_cast<const char*>(chunk.data()), chunk.size());
    constexpr std::string_view keyword("XML:com.adobe.xmp\0", 18);
    if (!all.starts_with(keyword) || all.size() < keyword.size() + 2) return "";
    const bool compressed = all[keyword.size()] != 0;
    std::size_t at = keyword.size() + 2;
    for (int skipped = 0; skipped < 2; ++skipped) {
        at = all.find('\0', at);
        if (at == all.npos) return "";
        ++at;
    }
    if (!compressed) return std::string(all.substr(at));
    std::string text;
    InflateStream().inflate(chunk.subspan(at), &text, std::size_t{1} << 20);
    return text;
}

class PngWalk {
  public:
    PngWalk(Bytes bytes, const ImageLimits& limits) : bytes_(bytes), limits_(limits) {}

    ImageProbe run() {
        try {
            while (step()) {
            }
        } catch (const DecodeError&) {
            // A fault behind the image data harms no pixel, if the data are all there: a chunk with
            // a wrong CRC, or a missing end. A chunk that the file's end cuts tells of a file that
            // was cut short.
            if (place_ < in_data || is_cut(chunk_at_) || !data_are_whole(chunk_at_)) throw;
        }
        if (data_bytes_ == 0) throw DecodeError("holds no image data");
        if (colour_type_ == 3 && !seen_palette_) throw DecodeError("damaged: the palette is missing");
        // Deflate expands by 1032 at most.
        if (raw_size(probe_, interlaced_) > 1032 * data_bytes_)
            throw DecodeError("too few bytes for its " + std::to_string(probe_.width) + " x " +
                              std::to_string(probe_.height) + " pixels");
        probe_.orientation =
            orientation_of(exif_, {reinterpret_cast<const std::uint8_t*>(xmp_.data()), xmp_.size()});
        return probe_;
    }

  private:
    // Takes the next chunk; false: it was the last.
    bool step() {
        chunk_at_ = at_;
        const Chunk chunk = next_chunk(bytes_, at_);
        check_crc(chunk);
        if (place_ == in_data && chunk.type != "IDAT") place_ = after_data;
        if (place_ == before_header) {
            if (chunk.type != "IHDR") throw DecodeError("damaged: the first chunk is not the header");
            read_header(chunk.data, limits_, probe_, colour_type_, interlaced_);
            place_ = before_data;
        } else if (chunk.type == "IEND") {
            return false;
        } else if (chunk.type == "IDAT") {
            if (place_ == after_data) throw DecodeError("damaged: image data in two places");
            place_ = in_data;
            data_bytes_ += static_cast<std::int64_t>(chunk.data.size());
        } else if (chunk.type == "PLTE") {
            const std::size_t size = chunk.data.size();
            if (seen_palette_ || place_ != before_data || size == 0 || size % 3 != 0 || size > 768)
                throw DecodeError("damaged: the palette is not legal");
            seen_palette_ = true;
        } else if (chunk.type == "eXIf") {
            exif_ = chunk.data;
        } else if (chunk.type == "iTXt") {
            if (std::string text = png_xmp(chunk.data); !text.empty()) xmp_ = std::move(text);
        } else if (chunk.type[0] >= 'A' && chunk.type[0] <= 'Z') {
            throw DecodeError("damaged: an unknown critical chunk");
        }
        return true;
    }

    bool is_cut(std::size_t at) const {
        const std::size_t left = bytes_.size() - at;
        return left >= 8 && big32(bytes_, at) > left - 8;
    }

    // Inflates the chunks of image data in front of `end`, up to the number of bytes that the
    // picture needs.
    bool data_are_whole(std::size_t end) const {
        InflateStream stream;
        std::int64_t left = raw_size(probe_, interlaced_);
        for (std::size_t at = signature_size; at < end && left > 0;) {
            const Chunk chunk = next_chunk(bytes_, at);
            if (chunk.type == "IDAT")
                left -= stream.inflate(chunk.data, nullptr, static_cast<std::size_t>(left));
        }
        return left <= 0;
    }

    Bytes bytes_;
    const ImageLimits& limits_;
    std::size_t at_ = signature_size,
                chunk_at_ = signature_size;  // the end and the begin of the chunk at hand
    enum { before_header, before_data, in_data, after_data } place_ = before_header;
    int colour_type_ = 0;
    bool interlaced_ = false, seen_palette_ = false;
    std::int64_t data_bytes_ = 0;
    Bytes exif_;
    std::string xmp_;
    ImageProbe probe_;
};

}  // namespace

ImageProbe probe_png(Bytes bytes, const ImageLimits& limits) {
    return PngWalk(bytes, limits).run();
}

std::vector<std::uint8_t> essential_png(Bytes bytes) {
    std::vector<std::uint8_t> out(bytes.begin(), bytes.begin() + signature_size);
    out.reserve(bytes.size());
    const bool has_palette = bytes[25] == 3;  // the header's type of colour
    bool seen_data = false;
    for (std::size_t at = signature_size; bytes.size() - at >= 12;) {
        if (seen_data && std::memcmp(bytes.data() + at + 4, "IDAT", 4) != 0)
            break;  // what follows may be damaged
        const Chunk chunk = next_chunk(bytes, at);
        if (chunk.type == "IHDR" || chunk.type == "IDAT" || (has_palette && chunk.type == "PLTE")) {
            seen_data = chunk.type == "IDAT";
            if (!chunk.data.empty()) out.insert(out.end(), chunk.whole.begin(), chunk.whole.end());
        }
    }
    const std::uint8_t end[] = {0, 0, 0, 0, 'I', 'E', 'N', 'D', 0xAE, 0x42, 0x60, 0x82};
    out.insert(out.end(), std::begin(end), std::end(end));
    return out;
}

}  // namespace onecycle
