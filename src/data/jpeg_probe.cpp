// The walk over a JPEG's markers (ITU-T T.81, annex B), entropy-coded data included, up to its end marker.
#include <algorithm>
#include <array>
#include <cstring>

#include "data/codecs.h"

namespace onecycle {

namespace {

enum Marker : std::uint8_t {
    TEM = 0x01,
    SOF0 = 0xC0,  // baseline
    SOF1 = 0xC1,  // extended sequential
    SOF2 = 0xC2,  // progressive
    DHT = 0xC4,
    DAC = 0xCC,
    SOF15 = 0xCF,
    RST0 = 0xD0,
    RST7 = 0xD7,
    SOI = 0xD8,
    EOI = 0xD9,
    SOS = 0xDA,
    APP1 = 0xE1,
    APP14 = 0xEE,
};

class JpegWalk {
  public:
    JpegWalk(Bytes bytes, const ImageLimits& limits) : bytes_(bytes), limits_(limits) {}

    ImageProbe run() {
        at_ = 2;  // after SOI
        for (;;) {
            const std::uint8_t marker = next_marker();
            if (marker == EOI) break;
            if (marker == TEM || (marker >= RST0 && marker <= RST7)) continue;  // have no length
            if (marker == SOI) throw Refusal("damaged: a second start marker");
            const Bytes segment = next_segment();
            if (marker >= SOF0 && marker <= SOF15 && marker != DHT && marker != DAC)
                start_of_frame(marker, segment);
            else if (marker == SOS)
                start_of_scan(segment);
            else if (marker == APP1 && has_prefix(segment, "Exif\0\0", 6) && !seen_exif_) {
                seen_exif_ = true;
                probe_.orientation = exif_orientation(segment.subspan(6));
            } else if (marker == APP14 && segment.size() >= 12 && has_prefix(segment, "Adobe", 5))
                seen_adobe_ = true;
        }
        if (scans_ == 0) throw Refusal("holds no image data");
        return probe_;
    }

  private:
    static bool has_prefix(Bytes segment, const char* prefix, std::size_t size) {
        return segment.size() >= size && std::memcmp(segment.data(), prefix, size) == 0;
    }

    // Skips fill bytes, and bytes that stand where a marker should: decoders do the same.
    std::uint8_t next_marker() {
        for (;;) {
            while (at_ < bytes_.size() && bytes_[at_] != 0xFF) ++at_;
            while (at_ < bytes_.size() && bytes_[at_] == 0xFF) ++at_;
            if (at_ >= bytes_.size()) throw Refusal("truncated");
            if (bytes_[at_++] != 0) return bytes_[at_ - 1];
        }
    }

    Bytes next_segment() {
        if (bytes_.size() - at_ < 2) throw Refusal("truncated");
        const std::size_t length = big16(bytes_, at_);
        if (length < 2) throw Refusal("damaged: a segment of impossible length");
        if (length > bytes_.size() - at_) throw Refusal("truncated");
        const Bytes segment = bytes_.subspan(at_ + 2, length - 2);
        at_ += length;
        return segment;
    }

    void start_of_frame(std::uint8_t marker, Bytes segment) {
        if (marker > SOF2) throw Refusal("a lossless, hierarchical or arithmetic-coded JPEG");
        if (probe_.channels != 0) throw Refusal("damaged: two frame headers");
        if (segment.size() < 6) throw Refusal("damaged: the frame header is too short");
        probe_.format = ImageFormat::jpeg;
        probe_.progressive = marker == SOF2;
        probe_.bit_depth = segment[0];
        probe_.height = static_cast<int>(big16(segment, 1));
        probe_.width = static_cast<int>(big16(segment, 3));
        probe_.channels = segment[5];
        if (probe_.bit_depth != 8) throw Refusal("a JPEG of other than 8 bits per channel");
        if (probe_.channels != 1 && probe_.channels != 3 && probe_.channels != 4)
            throw Refusal("a JPEG of " + std::to_string(probe_.channels) + " channels");
        if (segment.size() != 6 + 3 * static_cast<std::size_t>(probe_.channels))
            throw Refusal("damaged: the frame header has a wrong length");
        check_dimensions(probe_.width, probe_.height, limits_);
        check_size(segment);
    }

    // A block of 8 x 8 takes at least two bits (baseline: DC and end of block) or one (progressive), so a
    // file far below that is a bomb: a header that asks for gigabytes.
    void check_size(Bytes segment) const {
        std::array<std::int64_t, 4> across{}, down{};
        for (int c = 0; c < probe_.channels; ++c) {
            const std::uint8_t sampling = segment[7 + 3 * static_cast<std::size_t>(c)];
            across[c] = sampling >> 4;
            down[c] = sampling & 15;
            if (across[c] < 1 || across[c] > 4 || down[c] < 1 || down[c] > 4)
                throw Refusal("damaged: impossible sampling factors");
        }
        const auto ceil_div = [](std::int64_t a, std::int64_t b) { return (a + b - 1) / b; };
        const std::int64_t most_across = *std::max_element(across.begin(), across.end());
        const std::int64_t most_down = *std::max_element(down.begin(), down.end());
        std::int64_t blocks = 0;
        for (int c = 0; c < probe_.channels; ++c)
            blocks += ceil_div(probe_.width * across[c], 8 * most_across) *
                      ceil_div(probe_.height * down[c], 8 * most_down);
        if (static_cast<std::int64_t>(bytes_.size()) < blocks / (probe_.progressive ? 8 : 4))
            throw Refusal("too few bytes for its " + std::to_string(probe_.width) + " x " +
                          std::to_string(probe_.height) + " pixels");
    }

    void start_of_scan(Bytes segment) {
        if (probe_.channels == 0) throw Refusal("damaged: image data before the frame header");
        if (segment.empty() || segment[0] < 1 || segment[0] > 4)
            throw Refusal("damaged: a scan of no known channels");
        if (probe_.channels == 4 && !seen_adobe_)
            throw Refusal("a JPEG of four channels without Adobe's marker: their meaning is unknown");
        if (++scans_ > limits_.max_scans)
            throw Refusal("more than " + std::to_string(limits_.max_scans) + " scans");
        // Entropy-coded data: FF 00 is a data byte, FF D0..D7 a restart, any other FF xx the next marker.
        while (at_ < bytes_.size()) {
            const void* found = std::memchr(bytes_.data() + at_, 0xFF, bytes_.size() - at_);
            if (found == nullptr) break;
            at_ = static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - bytes_.data());
            if (at_ + 1 >= bytes_.size()) break;
            const std::uint8_t next = bytes_[at_ + 1];
            if (next != 0 && next != 0xFF && !(next >= RST0 && next <= RST7)) return;
            at_ += next == 0xFF ? 1 : 2;
        }
        throw Refusal("truncated");
    }

    Bytes bytes_;
    const ImageLimits& limits_;
    std::size_t at_ = 0;
    int scans_ = 0;
    bool seen_exif_ = false, seen_adobe_ = false;
    ImageProbe probe_;
};

}  // namespace

ImageProbe probe_jpeg(Bytes bytes, const ImageLimits& limits) {
    return JpegWalk(bytes, limits).run();
}

}  // namespace onecycle
