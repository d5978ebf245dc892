// The walk over a JPEG's markers (ITU-T T.81, annex B), entropy-coded data included, up to its end
// marker.
#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "data/codecs.h"

namespace onecycle {

namespace {

enum Marker : std::uint8_t {
    TEM = 0x01,
    SOF0 = 0xC0,  // baseline
    SOF1 = 0xC1,  // extended sequential
    SOF2 = 0xC2,  // progressive
    DHT = 0xC4,
    SOF9 = 0xC9,   // extended sequential, arithmetic-coded
    SOF10 = 0xCA,  // progressive, arithmetic-coded
    DAC = 0xCC,
    SOF15 = 0xCF,
    RST0 = 0xD0,
    RST7 = 0xD7,
    SOI = 0xD8,
    EOI = 0xD9,
    SOS = 0xDA,
    DQT = 0xDB,
    DRI = 0xDD,
    APP0 = 0xE0,
    APP1 = 0xE1,
    APP15 = 0xEF,
    COM = 0xFE,
};

class JpegWalk {
  public:
    JpegWalk(Bytes bytes, const ImageLimits& limits) : bytes_(bytes), limits_(limits) {}

    ImageProbe run() {
        at_ = 2;  // after SOI
        try {
            while (step()) {
            }
        } catch (const DecodeError&) {
            // Behind the first scan's header, damage in the image data can look like any marker and
            // segment.
            if (scans_ == 0 || scans_ > limits_.max_scans || !ends_with_end_marker()) throw;
            probe_.damaged = true;
        }
        if (scans_ == 0) throw DecodeError("holds no image data");
        probe_.orientation = orientation_of(exif_, xmp_);
        return probe_;
    }

  private:
    static bool has_prefix(Bytes segment, std::string_view prefix) {
        return segment.size() >= prefix.size() &&
               std::memcmp(segment.data(), prefix.data(), prefix.size()) == 0;
    }

    bool ends_with_end_marker() const {
        return bytes_[bytes_.size() - 2] == 0xFF && bytes_[bytes_.size() - 1] == EOI;
    }

    // Takes the next marker with its segment; false: it was the end marker.
    bool step() {
        const std::uint8_t marker = next_marker();
        if (marker == EOI) return false;
        if (marker == TEM || (marker >= RST0 && marker <= RST7)) return true;  // have no length
        if (marker == SOI) throw DecodeError("damaged: a second start marker");
        const Bytes segment = next_segment();
        if (marker >= SOF0 && marker <= SOF15 && marker != DHT && marker != DAC)
            start_of_frame(marker, segment);
        else if (marker == SOS)
            start_of_scan(segment);
        else if (scans_ > 0)
            between_scans(marker, segment);
        else if (marker == APP1)
            metadata(segment);
        return true;
    }

    // Skips fill bytes, and bytes that stand where a marker should: decoders do the same.
    std::uint8_t next_marker() {
        for (;;) {
            while (at_ < bytes_.size() && bytes_[at_] != 0xFF) ++at_;
            while (at_ < bytes_.size() && bytes_[at_] == 0xFF) ++at_;
            if (at_ >= bytes_.size()) throw DecodeError("truncated");
            if (bytes_[at_++] != 0) return bytes_[at_ - 1];
        }
    }

    Bytes next_segment() {
        if (bytes_.size() - at_ < 2) throw DecodeError("truncated");
        const std::size_t length = big16(bytes_, at_);
        if (length < 2) throw DecodeError("damaged: a segment of impossible length");
        if (length > bytes_.size() - at_) throw DecodeError("truncated");
        const Bytes segment = bytes_.subspan(at_ + 2, length - 2);
        at_ += length;
        return segment;
    }

    void metadata(Bytes segment) {
        constexpr std::string_view exif("Exif\0\0", 6), xmp("http://ns.adobe.com/xap/1.0/\0", 29);
        if (has_prefix(segment, exif) && exif_.empty()) exif_ = segment.subspan(exif.size());
        if (has_prefix(segment, xmp)) xmp_ = segment.subspan(xmp.size());
    }

    void start_of_frame(std::uint8_t marker, Bytes segment) {
        if (marker > SOF2 && marker != SOF9 && marker != SOF10)
            throw DecodeError("a lossless or hierarchical JPEG");
        if (probe_.channels != 0) throw DecodeError("damaged: two frame headers");
        if (segment.size() < 6) throw DecodeError("damaged: the frame header is too short");
        probe_.format = ImageFormat::jpeg;
        probe_.progressive = marker == SOF2 || marker == SOF10;
        probe_.bit_depth = segment[0];
        probe_.height = static_cast<int>(big16(segment, 1));
        probe_.width = static_cast<int>(big16(segment, 3));
        probe_.channels = segment[5];
        if (probe_.bit_depth != 8) throw DecodeError("a JPEG of other than 8 bits per channel");
        if (probe_.channels != 1 && probe_.channels != 3 && probe_.channels != 4)
            throw DecodeError("a JPEG of " + std::to_string(probe_.channels) + " channels");
        if (segment.size() != 6 + 3 * static_cast<std::size_t>(probe_.channels))
            throw DecodeError("damaged: the frame header has a wrong length");
        check_dimensions(probe_.width, probe_.height, limits_);
        // Arithmetic coding has no least number of bits: there, only the limits hold.
        check_size(segment, marker == SOF9 || marker == SOF10);
    }

    // A block of 8 x 8 takes at least two bits (baseline: DC and end of block) or one
    // (progressive), so a file far below that is a bomb: a header that asks for gigabytes.
    void check_size(Bytes segment, bool arithmetic) {
        std::array<std::int64_t, 4> across{}, down{};
        for (int c = 0; c < probe_.channels; ++c) {
            const std::uint8_t sampling = segment[7 + 3 * static_cast<std::size_t>(c)];
            across[c] = sampling >> 4;
            down[c] = sampling & 15;
            if (across[c] < 1 || across[c] > 4 || down[c] < 1 || down[c] > 4)
                throw DecodeError("damaged: impossible sampling factors");
        }
        const auto ceil_div = [](std::int64_t a, std::int64_t b) { return (a + b - 1) / b; };
        const std::int64_t most_across = *std::max_element(across.begin(), across.end());
        const std::int64_t most_down = *std::max_element(down.begin(), down.end());
        std::int64_t blocks = 0, whole = 0;
        for (int c = 0; c < probe_.channels; ++c) {
            blocks += ceil_div(probe_.width * across[c], 8 * most_across) *
                      ceil_div(probe_.height * down[c], 8 * most_down);
            whole += ceil_div(probe_.width, 8 * most_across) * across[c] *
                     ceil_div(probe_.height, 8 * most_down) * down[c];
        }
        constexpr std::uint64_t block_bytes = 64 * 2;
        coefficient_bytes_ = static_cast<std::uint64_t>(whole) * block_bytes;
        if (!arithmetic && static_cast<std::int64_t>(bytes_.size()) < blocks / (probe_.progressive ? 8 : 4))
            throw DecodeError("too few bytes for its " + std::to_string(probe_.width) + " x " +
                              std::to_string(probe_.height) + " pixels");
    }

    void start_of_scan(Bytes segment) {
        if (probe_.channels == 0) throw DecodeError("damaged: image data before the frame header");
        if (segment.empty() || segment[0] < 1 || segment[0] > 4)
            throw DecodeError("damaged: a scan of no known channels");
        if (scans_ > 0 && !likely_scan(segment)) probe_.damaged = true;
        // A decoder keeps the coefficients where one scan does not bring all of them.
        if (probe_.progressive || segment[0] < probe_.channels) probe_.work_bytes = coefficient_bytes_;
        if (++scans_ > limits_.max_scans)
            throw DecodeError("more than " + std::to_string(limits_.max_scans) + " scans");
        // Entropy-coded data: FF 00 is a data byte, FF D0..D7 a restart, any other FF xx the next
        // marker.
        while (at_ < bytes_.size()) {
            const void* found = std::memchr(bytes_.data() + at_, 0xFF, bytes_.size() - at_);
            if (found == nullptr) break;
            at_ = static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - bytes_.data());
            if (at_ + 1 >= bytes_.size()) break;
            const std::uint8_t next = bytes_[at_ + 1];
            if (next != 0 && next != 0xFF && !(next >= RST0 && next <= RST7)) return;
            at_ += next == 0xFF ? 1 : 2;
        }
        throw DecodeError("truncated");
    }

    // What stands between the scans, or behind the last one, of a file without damage.
    void between_scans(std::uint8_t marker, Bytes segment) {
        const bool harmless = (marker >= APP0 && marker <= APP15) || marker == COM || marker == DAC ||
                              (marker == DRI && segment.size() == 2) ||
                              (marker == DQT && segment.size() % 65 == 0) ||
                              (marker == DHT && likely_huffman_tables(segment));
        if (!harmless) probe_.damaged = true;
    }

    static bool likely_huffman_tables(Bytes segment) {
        while (segment.size() >= 17) {
            std::size_t codes = 0;
            std::uint32_t space = 0;  // of codes, in units of 1 / 65536
            for (std::size_t length = 1; length <= 16; ++length) {
                codes += segment[length];
                space += std::uint32_t{segment[length]} << (16 - length);
            }
            if ((segment[0] & 0xEF) > 3 || codes > 256 || space > 65536 || segment.size() < 17 + codes)
                return false;
            segment = segment.subspan(17 + codes);
        }
        return segment.empty();
    }

    // A scan of a progressive file: the band of coefficients and the bits that it brings are
    // possible ones.
    bool likely_scan(Bytes segment) const {
        const std::size_t channels = segment[0];
        if (segment.size() != 4 + 2 * channels || channels > static_cast<std::size_t>(probe_.channels))
            return false;
        const int first = segment[1 + 2 * channels], last = segment[2 + 2 * channels];
        const int high = segment[3 + 2 * channels] >> 4, low = segment[3 + 2 * channels] & 15;
        if (!probe_.progressive) return true;
        return first <= last && last < 64 && (first > 0 ? channels == 1 : last == 0) && low <= 13 &&
               (high == 0 || high == low + 1);
    }

    Bytes bytes_;
    const ImageLimits& limits_;
    std::size_t at_ = 0;
    int scans_ = 0;
    std::uint64_t coefficient_bytes_ = 0;  // of whole blocks, up to the edges of the largest ones
    Bytes exif_, xmp_;
    ImageProbe probe_;
};

}  // namespace

ImageProbe probe_jpeg(Bytes bytes, const ImageLimits& limits) {
    return JpegWalk(bytes, limits).run();
}

}  // namespace onecycle
