// PBM, PGM and PPM, plain and raw (P1 to P6), as Pillow reads them.
#include <charconv>
#include <cmath>
#include <string_view>

#include "core/echoed.h"
#include "data/codecs.h"

namespace onecycle {

namespace {

bool is_space(std::uint8_t c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct PnmHeader {
    int kind = 0;  // 1 to 6
    std::int64_t width = 0, height = 0;
    int most = 1;  // the value of white
    std::size_t data_at = 0;

    bool plain() const { return kind <= 3; }
    bool bits() const { return kind == 1 || kind == 4; }
    std::int64_t channels() const { return kind == 3 || kind == 6 ? 3 : 1; }
    std::int64_t samples() const { return width * height * channels(); }
    // Of the raw kinds.
    std::int64_t data_bytes() const {
        return bits() ? (width + 7) / 8 * height : samples() * (most > 255 ? 2 : 1);
    }
};

class PnmReader {
  public:
    explicit PnmReader(Bytes bytes) : bytes_(bytes) {}

    PnmHeader header() {
        PnmHeader h;
        h.kind = bytes_[1] - '0';
        at_ = 3;  // behind "P6" and a space
        h.width = number();
        h.height = number();
        if (!h.bits()) h.most = static_cast<int>(number());
        if (h.most < 1 || h.most > 65535)
            throw DecodeError("damaged: the value of white is not between 1 and 65535");
        h.data_at = at_;
        return h;
    }

    // A number of the header or of plain data, and the space behind it. A comment goes up to the
    // end of its line.
    std::int64_t number() {
        std::string token;
        while (token.size() <= 10) {
            if (at_ == bytes_.size()) break;
            const std::uint8_t c = bytes_[at_++];
            if (is_space(c)) {
                if (token.empty()) continue;
                break;
            }
            if (c == '#')
                skip_comment();
            else
                token += static_cast<char>(c);
        }
        if (token.empty()) throw DecodeError("truncated");
        std::int64_t value = 0;
        const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), value);
        if (error != std::errc() || end != token.data() + token.size() || value < 0)
            throw DecodeError("damaged: '" + echoed(token) + "' where a number should be");
        return value;
    }

    // A digit of a plain bitmap; spaces between them are optional.
    int bit() {
        for (;;) {
            if (at_ == bytes_.size()) throw DecodeError("truncated");
            const std::uint8_t c = bytes_[at_++];
            if (c == '#')
                skip_comment();
            else if (c == '0' || c == '1')
                return c - '0';
            else if (!is_space(c))
                throw DecodeError("damaged: a bitmap of other than 0 and 1");
        }
    }

  private:
    void skip_comment() {
        while (at_ < bytes_.size() && bytes_[at_] != '\n' && bytes_[at_] != '\r') ++at_;
        if (at_ < bytes_.size()) ++at_;
    }

    Bytes bytes_;
    std::size_t at_ = 0;
};

// Colours are scaled as Pillow does, to 8 bits and rounded. Grey above 8 bits is scaled to 16, and
// keeps the high byte.
std::uint8_t scaled(std::int64_t value, const PnmHeader& h) {
    if (value > h.most && h.plain()) throw DecodeError("damaged: a value above that of white");
    const double part = static_cast<double>(value) / h.most;
    if (h.channels() == 1 && h.most > 255)
        return static_cast<std::uint8_t>(static_cast<int>(std::min(std::nearbyint(part * 65535), 65535.0)) >>
                                         8);
    return static_cast<std::uint8_t>(std::min(std::nearbyint(part * 255), 255.0));
}

Image read(Bytes bytes, const PnmHeader& h) {
    Image image{static_cast<int>(h.width), static_cast<int>(h.height), {}};
    image.rgb.resize(static_cast<std::size_t>(h.width * h.height) * 3);
    std::vector<std::uint8_t> levels;  // of the raw kinds
    if (!h.plain() && !h.bits())
        for (int value = 0; value <= (h.most > 255 ? 65535 : 255); ++value)
            levels.push_back(scaled(value, h));
    PnmReader reader(bytes);
    if (h.plain()) reader.header();
    std::uint8_t* out = image.rgb.data();
    const std::size_t row_bytes = static_cast<std::size_t>(h.width + 7) / 8;
    for (std::int64_t y = 0, sample = 0; y < h.height; ++y)
        for (std::int64_t x = 0; x < h.width; ++x, out += 3)
            for (std::int64_t c = 0; c < 3; ++c) {
                if (c >= h.channels()) {
                    out[c] = out[0];
                    continue;
                }
                const auto k = static_cast<std::size_t>(sample++);
                if (h.kind == 1) {
                    out[c] = reader.bit() ? 0 : 255;
                } else if (h.kind == 4) {
                    const std::uint8_t byte = bytes[h.data_at + static_cast<std::size_t>(y) * row_bytes +
                                                    static_cast<std::size_t>(x) / 8];
                    out[c] = byte >> (7 - x % 8) & 1 ? 0 : 255;
                } else if (h.plain()) {
                    out[c] = scaled(reader.number(), h);
                } else {
                    out[c] = levels[h.most > 255 ? big16(bytes, h.data_at + 2 * k) : bytes[h.data_at + k]];
                }
            }
    return image;
}

}  // namespace

bool is_pnm(Bytes bytes) {
    return bytes.size() > 3 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6' && is_space(bytes[2]);
}

ImageProbe probe_pnm(Bytes bytes, const ImageLimits& limits) {
    const PnmHeader h = PnmReader(bytes).header();
    check_dimensions(h.width, h.height, limits);
    const auto there = static_cast<std::int64_t>(bytes.size() - h.data_at);
    if (there < (h.plain() ? (h.kind == 1 ? h.samples() : 2 * h.samples() - 1) : h.data_bytes()))
        throw DecodeError("truncated");
    if (h.plain()) read(bytes, h);  // whether all numbers are there shows in no other way
    ImageProbe probe;
    probe.format = ImageFormat::pnm;
    probe.width = static_cast<int>(h.width);
    probe.height = static_cast<int>(h.height);
    probe.channels = static_cast<int>(h.channels());
    probe.bit_depth = h.bits() ? 1 : h.most > 255 ? 16 : 8;
    return probe;
}

Image decode_pnm(Bytes bytes, const ImageProbe&) {
    return read(bytes, PnmReader(bytes).header());
}

}  // namespace onecycle
