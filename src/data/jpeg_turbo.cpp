// JPEG by libjpeg-turbo: accurate inverse DCT and smooth ("fancy") chroma upsampling, which are its
// defaults and Pillow's, so the pixels are Pillow's; also of a damaged file, as far as its data go.
#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdio>  // jpeglib.h needs FILE
#include <cstdlib>
#include <iterator>
#include <new>

#include <jpeglib.h>

#include <jerror.h>  // needs what jpeglib.h has defined

#include "data/codecs.h"

namespace onecycle {

namespace {

// One decompression. libjpeg reports an error by a call that must not return: it jumps to the
// function that called libjpeg, which therefore holds no object with a destructor.
struct Decompression {
    jpeg_decompress_struct info{};
    jpeg_error_mgr errors{};
    jpeg_source_mgr source{};
    jpeg_progress_mgr progress{};
    std::jmp_buf escape;
    std::array<char, JMSG_LENGTH_MAX> message{};
    bool in_image_data = false;  // behind the first scan's header
    bool damaged = false;

    explicit Decompression(Bytes bytes) {
        info.err = jpeg_std_error(&errors);
        info.client_data = this;
        errors.error_exit = [](j_common_ptr common) {
            Decompression& self = of(common);
            common->err->format_message(common, self.message.data());
            std::longjmp(self.escape, 1);
        };
        errors.emit_message = [](j_common_ptr common, int level) {
            if (level < 0) of(common).warned(common->err->msg_code);
        };
        errors.output_message = [](j_common_ptr) {};
        source.next_input_byte = bytes.data();
        source.bytes_in_buffer = bytes.size();
        source.init_source = source.term_source = [](j_decompress_ptr) {};
        source.fill_input_buffer = [](j_decompress_ptr) -> boolean { return FALSE; };  // there is no more
        source.skip_input_data = [](j_decompress_ptr decoder, long count) {
            if (count <= 0) return;
            const std::size_t n = std::min(static_cast<std::size_t>(count), decoder->src->bytes_in_buffer);
            decoder->src->next_input_byte += n;
            decoder->src->bytes_in_buffer -= n;
        };
        source.resync_to_restart = jpeg_resync_to_restart;
        // The walk has counted the scans, but behind damage a decoder may find others.
        progress.progress_monitor = [](j_common_ptr common) {
            auto* decoder = reinterpret_cast<j_decompress_ptr>(common);
            if (decoder->input_scan_number > ImageLimits{}.max_scans) ERREXIT(decoder, JERR_BAD_PROGRESSION);
        };
    }
    ~Decompression() { jpeg_destroy_decompress(&info); }
    Decompression(const Decompression&) = delete;
    Decompression& operator=(const Decompression&) = delete;

    static Decompression& of(j_common_ptr common) {
        return *static_cast<Decompression*>(common->client_data);
    }

    // Bytes too many between the header's segments, or an unknown version of JFIF, harm no pixel.
    void warned(int code) {
        damaged =
            damaged || (in_image_data && (code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE ||
                                          code == JWRN_MUST_RESYNC || code == JWRN_ARITH_BAD_CODE ||
                                          code == JWRN_EXTRANEOUS_DATA || code == JWRN_BOGUS_PROGRESSION));
    }
};

enum class Outcome { done, failed, ended };  // failed: Decompression::message says why; ended: too few bytes

bool read_header(Decompression& d) {
    jpeg_create_decompress(&d.info);
    d.info.client_data = &d;
    d.info.src = &d.source;
    d.info.progress = &d.progress;
    if (jpeg_read_header(&d.info, TRUE) == JPEG_SUSPENDED) return false;
    d.in_image_data = true;
    return true;
}

// Whether libjpeg surely takes the table: there is room for the codes of each length, that of all
// ones left over (ITU-T T.81, annex C), and those of the first coefficients stand for 15 bits at most.
bool is_good(const JHUFF_TBL& table, bool first_coefficients) {
    unsigned codes = 0, next = 0;
    for (unsigned length = 1; length <= 16; ++length) {
        codes += table.bits[length];
        next = 2 * next + table.bits[length];
        if (next >= 1u << length || codes > 256) return false;
    }
    return !first_coefficients ||
           std::all_of(table.huffval, table.huffval + codes, [](UINT8 bits) { return bits <= 15; });
}

// To make tables ready for image data takes a quarter of the time in which small images are looked
// at, and none are read here: good ones are emptied, which is quick, and as good.
void empty_good_tables(jpeg_decompress_struct& info) {
    for (int k = 0; k < NUM_HUFF_TBLS; ++k)
        for (JHUFF_TBL* const table : {info.dc_huff_tbl_ptrs[k], info.ac_huff_tbl_ptrs[k]})
            if (table && is_good(*table, table == info.dc_huff_tbl_ptrs[k]))
                std::fill(std::begin(table->bits), std::end(table->bits), UINT8{0});
}

// Reads the header and the tables that the first scan needs, and no image data.
Outcome read_tables(Decompression& d) {
    if (setjmp(d.escape) != 0) return Outcome::failed;
    if (!read_header(d)) return Outcome::ended;
    empty_good_tables(d.info);
    d.info.buffered_image = jpeg_has_multiple_scans(&d.info);
    return jpeg_start_decompress(&d.info) ? Outcome::done : Outcome::ended;
}

// Decodes to `pixels`: width * height pixels of 3 bytes, or of 4 where the file has four channels.
Outcome read_pixels(Decompression& d, unsigned denominator, unsigned width, unsigned height,
                    std::uint8_t* pixels) {
    if (setjmp(d.escape) != 0) return Outcome::failed;
    if (!read_header(d)) return Outcome::ended;
    const bool four = d.info.num_components == 4;
    d.info.out_color_space = four ? JCS_CMYK : JCS_RGB;
    d.info.scale_num = 1;
    d.info.scale_denom = denominator;
    jpeg_calc_output_dimensions(&d.info);
    if (d.info.output_width != width || d.info.output_height != height) ERREXIT(&d.info, JERR_BAD_LENGTH);
    if (!jpeg_start_decompress(&d.info)) return Outcome::ended;
    while (d.info.output_scanline < height) {
        JSAMPROW row = pixels + static_cast<std::size_t>(d.info.output_scanline) * width * (four ? 4 : 3);
        if (jpeg_read_scanlines(&d.info, &row, 1) != 1) return Outcome::ended;
    }
    // Reads up to the end marker. What is missing there, behind the last row, is no fault.
    jpeg_finish_decompress(&d.info);
    return Outcome::done;
}

void require(Outcome outcome, const Decompression& d) {
    if (outcome == Outcome::ended) throw DecodeError("truncated");
    if (outcome == Outcome::failed) throw DecodeError("damaged: " + std::string(d.message.data()));
}

}  // namespace

void check_jpeg_tables(Bytes bytes) {
    Decompression d(bytes);
    require(read_tables(d), d);
}

Image decode_jpeg(Bytes bytes, const ImageProbe& probe, int min_short_side) {
    int denominator = 1, width = probe.width, height = probe.height;
    if (min_short_side > 0)
        for (const int smaller : {2, 4, 8}) {
            const int w = (probe.width + smaller - 1) / smaller, h = (probe.height + smaller - 1) / smaller;
            if (w >= min_short_side && h >= min_short_side) denominator = smaller, width = w, height = h;
        }
    const std::size_t area = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
    std::vector<std::uint8_t> pixels(area * (probe.channels == 4 ? 4 : 3));
    Decompression d(bytes);
    require(read_pixels(d, static_cast<unsigned>(denominator), static_cast<unsigned>(width),
                        static_cast<unsigned>(height), pixels.data()),
            d);
    Image image = probe.channels == 4 ? rgb_from_inverted_cmyk(width, height, pixels)
                                      : Image{width, height, std::move(pixels)};
    image.damaged = d.damaged;
    return image;
}

namespace {

// One compression; see Decompression for the jump.
struct Compressor {
    jpeg_compress_struct info{};
    jpeg_error_mgr errors{};
    std::jmp_buf escape;
    unsigned char* bytes = nullptr;
    unsigned long size = 0;

    Compressor() {
        info.err = jpeg_std_error(&errors);
        info.client_data = this;
        errors.error_exit = [](j_common_ptr common) {
            std::longjmp(static_cast<Compressor*>(common->client_data)->escape, 1);
        };
        errors.output_message = [](j_common_ptr) {};
    }
    ~Compressor() {
        jpeg_destroy_compress(&info);
        std::free(bytes);
    }
    Compressor(const Compressor&) = delete;
    Compressor& operator=(const Compressor&) = delete;
};

bool compress(Compressor& c, const Image& image, int quality) {
    if (setjmp(c.escape) != 0) return false;
    jpeg_create_compress(&c.info);
    c.info.client_data = &c;
    jpeg_mem_dest(&c.info, &c.bytes, &c.size);
    c.info.image_width = static_cast<JDIMENSION>(image.width);
    c.info.image_height = static_cast<JDIMENSION>(image.height);
    c.info.input_components = 3;
    c.info.in_color_space = JCS_RGB;
    jpeg_set_defaults(&c.info);
    jpeg_set_quality(&c.info, quality, TRUE);
    jpeg_start_compress(&c.info, TRUE);
    while (c.info.next_scanline < c.info.image_height) {
        // libjpeg does not write there.
        JSAMPROW row =
            const_cast<std::uint8_t*>(&image.rgb[std::size_t{c.info.next_scanline} * c.info.image_width * 3]);
        jpeg_write_scanlines(&c.info, &row, 1);
    }
    jpeg_finish_compress(&c.info);
    return true;
}

}  // namespace

std::vector<std::uint8_t> encode_jpeg(const Image& image, int quality) {
    Compressor c;
    if (!compress(c, image, quality)) throw std::bad_alloc();
    return {c.bytes, c.bytes + c.size};
}

std::string jpeg_decoder() {
    return "libjpeg-turbo " ONECYCLE_JPEG_VERSION;
}

}  // namespace onecycle
