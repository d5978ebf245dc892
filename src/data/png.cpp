// PNG by libpng, which sees only the chunks that essential_png lets through.
#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <new>

#include "data/codecs.h"

namespace onecycle {

namespace {

// One decoding. libpng reports an error by a call that must not return: it jumps to the function
// that called libpng, which therefore holds no object with a destructor.
struct PngReading {
    png_structp png = nullptr;
    png_infop info = nullptr;
    Bytes bytes;
    png_uint_32 height;
    bool complete = false;  // the last row is there
    std::array<char, 128> message{};

    PngReading(Bytes file, int rows) : bytes(file), height(static_cast<png_uint_32>(rows)) {
        png = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, &PngReading::failed,
                                     [](png_structp, png_const_charp) {});
        if (png != nullptr) info = png_create_info_struct(png);
        if (info == nullptr) {
            png_destroy_read_struct(&png, nullptr, nullptr);
            throw std::bad_alloc();
        }
    }
    ~PngReading() { png_destroy_read_struct(&png, &info, nullptr); }
    PngReading(const PngReading&) = delete;
    PngReading& operator=(const PngReading&) = delete;

    [[noreturn]] static void failed(png_structp png, png_const_charp why) {
        auto& self = *static_cast<PngReading*>(png_get_error_ptr(png));
        std::snprintf(self.message.data(), self.message.size(), "%s", why);
        png_longjmp(png, 1);
    }

    static void more(png_structp png, png_bytep out, std::size_t count) {
        auto& self = *static_cast<PngReading*>(png_get_io_ptr(png));
        // Behind the last row libpng inflates what is left of the data only to throw it away: a
        // small picture may carry gigabytes. It is stopped as soon as it asks for more of them.
        if (png_get_current_row_number(png) >= self.height || png_get_current_pass_number(png) >= 7) {
            self.complete = true;
            png_longjmp(png, 1);
        }
        if (count > self.bytes.size()) png_error(png, "it ends too early");
        std::memcpy(out, self.bytes.data(), count);
        self.bytes = self.bytes.subspan(count);
    }
};

// Decodes to `pixels`: 3 bytes each. False: PngReading::message says why not.
bool read_png_rows(PngReading& reading, int width, std::uint8_t* pixels) {
    png_structp png = reading.png;
    if (setjmp(png_jmpbuf(png)) != 0) return reading.complete;
    png_set_read_fn(png, &reading, &PngReading::more);
    // The walk has applied the limits and looked at every CRC. As Pillow does, libpng
    // ignores the checksum of the inflated data: the chunks' CRCs cover the same bytes.
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_chunk_malloc_max(png, 0);
    png_set_crc_action(png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
    png_set_option(png, PNG_IGNORE_ADLER32, PNG_OPTION_ON);
    png_set_option(png, PNG_MAXIMUM_INFLATE_WINDOW, PNG_OPTION_ON);
    png_read_info(png, reading.info);
    png_set_strip_16(png);  // keeps the high byte
    png_set_expand(png);
    png_set_gray_to_rgb(png);
    png_set_strip_alpha(png);
    const int passes = png_set_interlace_handling(png);
    png_read_update_info(png, reading.info);
    const std::size_t row = static_cast<std::size_t>(width) * 3;
    if (png_get_rowbytes(png, reading.info) != row) png_error(png, "its header contradicts itself");
    for (int pass = 0; pass < passes; ++pass)
        for (std::size_t y = 0; y < reading.height; ++y) png_read_row(png, pixels + y * row, nullptr);
    return true;
}

}  // namespace

Image decode_png(Bytes bytes, const ImageProbe& probe) {
    const std::vector<std::uint8_t> essential = essential_png(bytes);
    Image image{probe.width, probe.height,
                std::vector<std::uint8_t>(static_cast<std::size_t>(probe.width) * probe.height * 3)};
    PngReading reading(essential, probe.height);
    if (!read_png_rows(reading, probe.width, image.rgb.data()))
        throw DecodeError("damaged: " + std::string(reading.message.data()));
    return image;
}

std::string png_decoder() {
    return "libpng " ONECYCLE_PNG_VERSION;
}

}  // namespace onecycle
