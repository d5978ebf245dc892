// GIF: the first frame, as Pillow shows it. Our own, since it is short, and stb_image fills what a
// frame leaves open otherwise.
#include <algorithm>
#include <array>
#include <optional>

#include "data/codecs.h"

namespace onecycle {

namespace {

struct Gif {
    std::size_t width = 0, height = 0;       // of the screen, at least the first frame's right and lower edge
    std::size_t x = 0, y = 0, w = 0, h = 0;  // the first frame
    bool interlaced = false;
    Bytes palette;                   // of the frame, RGB; empty: indices are grey values
    std::optional<int> transparent;  // fills what the frame leaves open
    int code_size = 0;
    std::size_t data_at = 0, data_bytes = 0;  // sub-blocks of the first frame
};

class GifWalk {
  public:
    explicit GifWalk(Bytes bytes) : bytes_(bytes) {}

    // Over all frames up to the trailer: a file without it was cut short.
    Gif run() {
        const Bytes screen = take(13);
        gif_.width = little16(screen, 6);
        gif_.height = little16(screen, 8);
        Bytes global;
        if (screen[10] & 0x80) global = palette(screen[10]);
        bool seen_frame = false;
        for (std::uint8_t kind = take(1)[0]; kind != ';'; kind = take(1)[0]) {
            if (kind == '!')
                extension(seen_frame);
            else if (kind == ',') {
                frame(global, seen_frame);
                seen_frame = true;
            }
        }
        if (!seen_frame) throw DecodeError("holds no image data");
        return gif_;
    }

  private:
    Bytes take(std::size_t count) {
        if (bytes_.size() - at_ < count) throw DecodeError("truncated");
        at_ += count;
        return bytes_.subspan(at_ - count, count);
    }

    Bytes palette(std::uint8_t flags) { return take(std::size_t{3} << ((flags & 7) + 1)); }

    void skip_blocks() {
        while (const std::size_t size = take(1)[0]) take(size);
    }

    void extension(bool seen_frame) {
        const std::uint8_t label = take(1)[0];
        const std::size_t size = take(1)[0];
        if (size == 0) return;
        const Bytes block = take(size);
        if (label == 0xF9 && size >= 4 && (block[0] & 1) && !seen_frame) gif_.transparent = block[3];
        skip_blocks();
    }

    void frame(Bytes global, bool seen_frame) {
        const Bytes head = take(9);
        Bytes colours = global;
        if (head[8] & 0x80) colours = palette(head[8]);
        const int code_size = take(1)[0];
        const std::size_t begin = at_;
        skip_blocks();
        if (seen_frame) return;
        gif_.x = little16(head, 0), gif_.y = little16(head, 2);
        gif_.w = little16(head, 4), gif_.h = little16(head, 6);
        gif_.width = std::max(gif_.width, gif_.x + gif_.w);
        gif_.height = std::max(gif_.height, gif_.y + gif_.h);
        gif_.interlaced = head[8] & 0x40;
        gif_.palette = colours;
        gif_.code_size = code_size;
        gif_.data_at = begin;
        gif_.data_bytes = at_ - begin;
        if (gif_.w == 0 || gif_.h == 0) throw DecodeError("damaged: an image without pixels");
        if (code_size < 1 || code_size > 11) throw DecodeError("damaged: an impossible code size");
    }

    Bytes bytes_;
    std::size_t at_ = 0;
    Gif gif_;
};

// The frame's indices, in the order in which they are stored.
std::vector<std::uint8_t> expand_lzw(Bytes blocks, int code_size, std::size_t pixels) {
    constexpr int most_codes = 4096;
    std::array<std::uint16_t, most_codes> previous;
    std::array<std::uint8_t, most_codes> last;
    std::array<std::uint8_t, most_codes + 1> text;  // of one code, from its end
    const int clear = 1 << code_size, end = clear + 1;
    std::vector<std::uint8_t> out;
    out.reserve(pixels);
    int next = clear + 2, width = code_size + 1, before = -1, first = 0;
    std::uint32_t bits = 0;
    int bit_count = 0;
    std::size_t at = 0, block_end = 0;
    while (out.size() < pixels) {
        while (bit_count < width) {
            if (at == block_end) {
                const std::size_t size = at < blocks.size() ? blocks[at] : 0;
                if (size == 0) throw DecodeError("damaged: the image data end early");
                ++at;
                block_end = at + size;
            }
            bits |= std::uint32_t{blocks[at++]} << bit_count;
            bit_count += 8;
        }
        const int code = static_cast<int>(bits & ((1u << width) - 1));
        bits >>= width;
        bit_count -= width;
        if (code == clear) {
            next = clear + 2, width = code_size + 1, before = -1;
            continue;
        }
        if (code == end) throw DecodeError("damaged: the image data end early");
        if (code > (before < 0 ? clear : next)) throw DecodeError("damaged: a code that was not defined");
        std::size_t length = 0;
        int at_code = code;
        if (before >= 0 && code == next) text[length++] = static_cast<std::uint8_t>(first), at_code = before;
        while (at_code >= clear + 2) {
            text[length++] = last[static_cast<std::size_t>(at_code)];
            at_code = previous[static_cast<std::size_t>(at_code)];
        }
        first = at_code;
        text[length++] = static_cast<std::uint8_t>(first);
        while (length > 0 && out.size() < pixels) out.push_back(text[--length]);
        if (before >= 0 && next < most_codes) {
            previous[static_cast<std::size_t>(next)] = static_cast<std::uint16_t>(before);
            last[static_cast<std::size_t>(next)] = static_cast<std::uint8_t>(first);
            if (next == (1 << width) - 1 && width < 12) ++width;
            ++next;
        }
        before = code;
    }
    return out;
}

}  // namespace

ImageProbe probe_gif(Bytes bytes, const ImageLimits& limits) {
    const Gif gif = GifWalk(bytes).run();
    check_dimensions(static_cast<std::int64_t>(gif.width), static_cast<std::int64_t>(gif.height), limits);
    // A code of 12 bits stands for 4096 pixels at most; a first frame far smaller than its screen
    // is a bomb.
    const std::size_t most = 4096 * gif.data_bytes;
    if (gif.w * gif.h > most || gif.width * gif.height > most + (std::size_t{4} << 20))
        throw DecodeError("too few bytes for its " + std::to_string(gif.width) + " x " +
                          std::to_string(gif.height) + " pixels");
    ImageProbe probe;
    probe.format = ImageFormat::gif;
    probe.width = static_cast<int>(gif.width);
    probe.height = static_cast<int>(gif.height);
    probe.channels = 1;
    return probe;
}

Image decode_gif(Bytes bytes, const ImageProbe& probe) {
    const Gif gif = GifWalk(bytes).run();
    const std::vector<std::uint8_t> indices =
        expand_lzw(bytes.subspan(gif.data_at, gif.data_bytes), gif.code_size, gif.w * gif.h);
    Image image{probe.width, probe.height, std::vector<std::uint8_t>(gif.width * gif.height * 3)};
    const auto colour = [&](std::size_t index, std::uint8_t* out) {
        for (std::size_t c = 0; c < 3; ++c)
            out[c] = gif.palette.empty()                  ? static_cast<std::uint8_t>(index)
                     : 3 * index + c < gif.palette.size() ? gif.palette[3 * index + c]
                                                          : 0;
    };
    if (gif.w < gif.width || gif.h < gif.height)
        for (std::size_t pixel = 0; pixel < gif.width * gif.height; ++pixel)
            colour(static_cast<std::size_t>(gif.transparent.value_or(0)), &image.rgb[3 * pixel]);
    // Interlaced rows come in four passes.
    constexpr std::size_t starts[] = {0, 4, 2, 1}, steps[] = {8, 8, 4, 2};
    std::size_t row = 0, pass = 0;
    for (std::size_t k = 0; k < gif.h; ++k) {
        std::size_t y = k;
        if (gif.interlaced) {
            while (row >= gif.h) row = starts[++pass];
            y = row;
            row += steps[pass];
        }
        std::uint8_t* out = &image.rgb[((gif.y + y) * gif.width + gif.x) * 3];
        for (std::size_t x = 0; x < gif.w; ++x) colour(indices[k * gif.w + x], out + 3 * x);
    }
    return image;
}

}  // namespace onecycle
