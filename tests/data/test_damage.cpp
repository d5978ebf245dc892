// Damaged and hostile files: each is refused, with its reason, before it can do harm.
#include <gtest/gtest.h>

#include <sys/stat.h>

#include <array>
#include <optional>

#include "data/files.h"
#include "onecycle/image.h"

using namespace onecycle;
using namespace onecycle::test;

namespace {

using File = std::vector<std::uint8_t>;

std::optional<std::string> refusal(const File& bytes) {
    try {
        probe_image(bytes, "x.jpg");
    } catch (const ImageError& error) {
        return error.reason();
    }
    return std::nullopt;
}

std::string reason(const std::string& text) {
    return refusal(File(text.begin(), text.end())).value_or("accepted");
}

void append(File& file, std::initializer_list<int> bytes) {
    for (const int byte : bytes) file.push_back(static_cast<std::uint8_t>(byte));
}

// A baseline JPEG whose header claims width x height, with `scans` scans of a few bytes.
File jpeg_claiming(int width, int height, int scans, bool progressive = false) {
    File file;
    append(file, {0xFF, 0xD8, 0xFF, progressive ? 0xC2 : 0xC0, 0, 11, 8, height >> 8, height & 255,
                  width >> 8, width & 255, 1, 1, 0x11, 0});
    for (int k = 0; k < scans; ++k) append(file, {0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0, 0x12});
    append(file, {0xFF, 0xD9});
    return file;
}

std::uint32_t crc_of(const File& file, std::size_t from, std::size_t to) {
    std::uint32_t crc = ~0u;
    for (std::size_t at = from; at < to; ++at) {
        crc ^= file[at];
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

void append_chunk(File& file, const char* type, const File& data) {
    const auto append_big = [&](std::uint32_t number) {
        for (int shift = 24; shift >= 0; shift -= 8)
            file.push_back(static_cast<std::uint8_t>(number >> shift));
    };
    append_big(static_cast<std::uint32_t>(data.size()));
    const std::size_t begin = file.size();
    file.insert(file.end(), type, type + 4);
    file.insert(file.end(), data.begin(), data.end());
    append_big(crc_of(file, begin, file.size()));
}

// A grey PNG of 8 x 8 pixels, the pixel k of value k, whose data go on for 500,000 bytes behind the
// pixels: zeros, and then what no inflater can read. `interlaced` gives the data as seven passes.
File png_with_more_than_it_promises(bool interlaced) {
    File pixels;
    const auto pass = [&](int x0, int y0, int dx, int dy) {
        for (int y = y0; y < 8; y += dy) {
            pixels.push_back(0);
            for (int x = x0; x < 8; x += dx) pixels.push_back(static_cast<std::uint8_t>(8 * y + x));
        }
    };
    if (interlaced)
        for (const auto& p : {std::array{0, 0, 8, 8},
                              {4, 0, 8, 8},
                              {0, 4, 4, 8},
                              {2, 0, 4, 4},
                              {0, 2, 2, 4},
                              {1, 0, 2, 2},
                              {0, 1, 1, 2}})
            pass(p[0], p[1], p[2], p[3]);
    else
        pass(0, 0, 1, 1);
    File data = {0x78, 0x01};
    const auto stored_block = [&](File bytes) {
        const auto size = static_cast<unsigned>(bytes.size());
        for (const unsigned byte : {0u, size & 255, size >> 8, ~size & 255, (~size >> 8) & 255})
            data.push_back(static_cast<std::uint8_t>(byte));
        data.insert(data.end(), bytes.begin(), bytes.end());
    };
    stored_block(pixels);
    for (int k = 0; k < 4; ++k) stored_block(File(60000, 0));
    data.resize(500000, 0xFF);
    File file = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    append_chunk(file, "IHDR", {0, 0, 0, 8, 0, 0, 0, 8, 8, 0, 0, 0, static_cast<std::uint8_t>(interlaced)});
    append_chunk(file, "IDAT", data);
    append_chunk(file, "IEND", {});
    return file;
}

// The fixture with its chunk's data replaced; the CRC is made to fit by `crc` of the test itself.
File with_png_size(std::uint32_t width, std::uint32_t height) {
    File file = bytes_of(images() / "grey.png");
    for (int k = 0; k < 4; ++k) {
        file[16 + static_cast<std::size_t>(k)] = static_cast<std::uint8_t>(width >> (24 - 8 * k));
        file[20 + static_cast<std::size_t>(k)] = static_cast<std::uint8_t>(height >> (24 - 8 * k));
    }
    const std::uint32_t crc = crc_of(file, 12, 29);
    for (int k = 0; k < 4; ++k)
        file[29 + static_cast<std::size_t>(k)] = static_cast<std::uint8_t>(crc >> (24 - 8 * k));
    return file;
}

}  // namespace

// Formats that this build refuses whole.
bool is_refused_here(const std::string& name) {
    const auto has = [&](const char* ending) { return name.ends_with(ending); };
    return (webp_decoder().empty() && (has(".webp") || name == "webp_named.jpg")) ||
           (tiff_decoder().empty() && has(".tif")) ||
           (heif_decoder().find("AVIF") == std::string::npos && has(".avif")) ||
           (heif_decoder().find("HEIC") == std::string::npos && has(".heic"));
}

TEST(Damage, no_truncation_of_any_fixture_changes_its_pixels_unseen) {
    int cuts = 0;
    for (const std::string name :
         {"rgb_420.jpg",       "rgb_444.jpg",   "grey.jpg",          "progressive.jpg",
          "restart.jpg",       "cmyk.jpg",      "orientation_6.jpg", "one_pixel.jpg",
          "arithmetic.jpg",    "grey.png",      "interlaced.png",    "palette_transparency.png",
          "many_idat.png",     "rgb.bmp",       "palette.bmp",       "one_bit.bmp",
          "orientation_8.png", "rgb_565.bmp",   "run_length_8.bmp",  "run_length_4.bmp",
          "rgb.gif",           "animation.gif", "interlaced.gif",    "raw.ppm",
          "white_65535.pgm",   "raw.pbm",       "lossy.webp",        "lossless_alpha.webp",
          "animation.webp",    "rgb.tif",       "grey.tif",          "palette.tif",
          "jpeg.tif",          "tiles_lzw.tif", "planes.tif",        "two_pages.tif",
          "big_tiff.tif",      "grey_16.tif",   "subsampled.avif",   "colour.heic"}) {
        if (is_refused_here(name)) continue;
        const File whole = bytes_of(images() / name);
        ASSERT_FALSE(refusal(whole)) << name;
        const std::size_t step = std::max<std::size_t>(1, whole.size() / 500);
        for (std::size_t length = 0; length < whole.size(); length += step, ++cuts) {
            const File cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
            if (!refusal(cut)) {
                // Only what stands behind the image may be missing: the end of a PNG, filling in a
                // TIFF.
                ASSERT_GE(length + 12, whole.size()) << name << " cut to " << length;
                ASSERT_EQ(decode_image(cut).rgb, decode_image(whole).rgb) << name;
            }
        }
    }
    EXPECT_GT(cuts, 15000);
}

TEST(Damage, no_flipped_bit_of_a_png_changes_its_pixels_unseen) {
    for (const std::string name : {"grey.png", "short_palette.png", "one_pixel.png"}) {
        File file = bytes_of(images() / name);
        const std::vector<std::uint8_t> pixels = decode_image(file).rgb;
        for (std::size_t bit = 0; bit < 8 * file.size(); ++bit) {
            file[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
            if (!refusal(file)) {
                ASSERT_GE(bit / 8, file.size() - 12) << name << " bit " << bit;
                ASSERT_EQ(decode_image(file).rgb, pixels) << name << " bit " << bit;
            }
            file[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
        }
    }
}

TEST(Damage, a_file_of_any_format_with_any_byte_changed_is_decoded_or_refused) {
    for (const std::string name :
         {"run_length_8.bmp", "run_length_4_step.bmp", "rgb.gif", "interlaced.gif", "white_1023.ppm",
          "plain_white_7.pgm", "plain.pbm", "lossy.webp", "lossless_alpha.webp", "rgb.tif", "palette.tif",
          "jpeg.tif", "plane_tiles.tif", "premultiplied.tif", "fax.tif", "orientation_packed_xmp.png",
          "subsampled.avif"}) {
        const File whole = bytes_of(images() / name);
        const std::size_t step =
            std::max<std::size_t>(1, whole.size() / (name.ends_with(".avif") ? 50 : 300));
        for (std::size_t at = 0; at < whole.size(); at += step) {
            File file = whole;
            file[at] ^= 0x55;
            try {
                const Image image = decode_image(file, name);
                ASSERT_EQ(image.rgb.size(), static_cast<std::size_t>(image.width) * image.height * 3);
            } catch (const ImageError&) {
            }
        }
    }
}

TEST(Damage, a_jpeg_with_any_byte_changed_is_decoded_or_refused) {
    // JPEG has no checksum: damage is not always seen, but must stay harmless (the sanitizers look
    // on).
    for (const std::string name : {"progressive.jpg", "rgb_420.jpg"}) {
        const File whole = bytes_of(images() / name);
        for (std::size_t at = 0; at < whole.size(); ++at) {
            File file = whole;
            file[at] ^= 0x55;
            try {
                const Image image = decode_image(file, name);
                ASSERT_EQ(image.rgb.size(), static_cast<std::size_t>(image.width) * image.height * 3);
            } catch (const ImageError&) {
            }
        }
    }
}

TEST(Damage, a_jpeg_whose_data_end_early_is_decoded_as_damaged_only_with_its_end_marker) {
    if (!jpeg_decoder().starts_with("libjpeg-turbo")) GTEST_SKIP() << "stb_image does not tell";
    File file = bytes_of(images() / "rgb_444.jpg");
    file.resize(file.size() - 200);
    EXPECT_EQ(refusal(file), "truncated");
    append(file, {0, 0xFF, 0xD9});
    EXPECT_TRUE(decode_image(file, "x.jpg").damaged);
}

TEST(Damage, a_jpeg_that_its_decoder_refuses_is_refused_before_it_is_decoded) {
    if (!jpeg_decoder().starts_with("libjpeg-turbo")) GTEST_SKIP() << "stb_image does not tell";
    const auto is_refused = [](const File& file) {
        EXPECT_THROW(decode_image(file, "x.jpg"), ImageError);
        return refusal(file).has_value();
    };
    const File whole = bytes_of(images() / "rgb_420.jpg");
    File without_table = whole, impossible_codes = whole;
    for (std::size_t at = 2; at + 25 < whole.size() && whole[at + 1] != 0xDA; ++at) {
        if (whole[at] != 0xFF) continue;
        if (whole[at + 1] == 0xDB) without_table[at + 1] = 0xFE;  // quantisation: a comment now
        if (whole[at + 1] == 0xC4) impossible_codes[at + 5] = 9;  // nine Huffman codes of one bit
    }
    EXPECT_TRUE(is_refused(without_table));
    EXPECT_TRUE(is_refused(impossible_codes));
    File second_frame = whole;  // another frame header in the image data
    const File header = {0, 0xFF, 0xC0, 0, 11, 8, 0, 29, 0, 37, 1, 1, 0x11, 0};
    std::copy(header.begin(), header.end(), second_frame.end() - 100);
    EXPECT_TRUE(is_refused(second_frame));
}

TEST(Damage, reasons_say_what_the_file_is) {
    EXPECT_EQ(reason(""), "empty file");
    EXPECT_EQ(reason("<html>\n<body>404"), "not an image (starts with '<html>')");
    EXPECT_EQ(reason("a text"), "not an image (starts with 'a text')");
    EXPECT_EQ(reason(std::string(5000, '\0')), "not an image (all bytes are zero)");
    EXPECT_EQ(reason("GIF89a..."), "truncated");
    EXPECT_EQ(reason(std::string("\0\0\0\x18"
                                 "ftypmp42....mp42isom",
                                 24)),
              "a video, not an image");
    if (webp_decoder().empty()) {
        EXPECT_NE(reason("RIFF....WEBPVP8 ").find("libwebp-dev"), std::string::npos);
    }
    if (tiff_decoder().empty()) {
        EXPECT_NE(reason("II*.").find("libtiff-dev"), std::string::npos);
    }
    File png = bytes_of(images() / "rgb.png");
    png[png.size() / 2] ^= 1;
    EXPECT_EQ(refusal(png), "damaged: wrong CRC");
}

TEST(Damage, bombs_are_refused_by_their_header) {
    EXPECT_NE(refusal(jpeg_claiming(26000, 26000, 1))->find("too large"), std::string::npos);
    EXPECT_NE(refusal(jpeg_claiming(10000, 10000, 1))->find("too few bytes"), std::string::npos);
    EXPECT_NE(refusal(jpeg_claiming(10000, 10000, 1, true))->find("too few bytes"), std::string::npos);
    EXPECT_NE(refusal(jpeg_claiming(8, 8, 30000, true))->find("scans"), std::string::npos);
    // The same bytes with honest numbers: what libjpeg-turbo misses then is a table.
    EXPECT_NE(refusal(jpeg_claiming(8, 8, 1)).value_or("table").find("table"), std::string::npos);
    EXPECT_NE(refusal(with_png_size(16384, 16384))->find("too large"), std::string::npos);
    EXPECT_NE(refusal(with_png_size(12000, 12000))->find("too few bytes"), std::string::npos);
    EXPECT_NE(refusal(with_png_size(0, 5))->find("without pixels"), std::string::npos);
    EXPECT_FALSE(refusal(with_png_size(37, 29)));  // the fixture as it was
}

TEST(Damage, of_a_png_no_more_is_inflated_than_its_header_promises) {
    for (const bool interlaced : {false, true}) {
        const File file = png_with_more_than_it_promises(interlaced);
        EXPECT_FALSE(refusal(file));
        const Image image = decode_image(file, "bomb.png");
        ASSERT_EQ(image.rgb.size(), 192u);
        for (std::size_t k = 0; k < image.rgb.size(); ++k)
            EXPECT_EQ(image.rgb[k], k / 3) << (interlaced ? "interlaced, " : "") << "at " << k;
    }
}

TEST(Damage, max_pixels_lifts_the_limit_that_the_refusal_names) {
    const File file = bytes_of(images() / "rgb.png");  // 37 x 29 pixels
    ImageLimits limits = limits_with(37 * 29 - 1);
    try {
        probe_image(file, "x.png", limits);
        FAIL();
    } catch (const ImageError& error) {
        EXPECT_EQ(error.reason(), "too large: 37 x 29 pixels; --max-pixels 1073 allows it");
    }
    limits = limits_with(1073);
    EXPECT_NO_THROW(probe_image(file, "x.png", limits));
    // The default limit, and beyond.
    const File large = jpeg_claiming(20000, 20000, 1);
    EXPECT_NE(refusal(large)->find("--max-pixels 400000000"), std::string::npos);
    try {
        probe_image(large, "x.jpg", limits_with(400'000'000));
        FAIL();
    } catch (const ImageError& error) {
        EXPECT_NE(error.reason().find("too few bytes"), std::string::npos);
    }
    EXPECT_GT(limits_with(400'000'000).max_file_bytes, ImageLimits{}.max_file_bytes);
}

TEST(Damage, only_regular_files_are_read) {
    TemporaryFolder folder;
    EXPECT_THROW(read_image(folder / "missing.jpg"), ImageError);
    EXPECT_THROW(read_image(folder.path()), ImageError);
    const std::string fifo = folder / "fifo.jpg";
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    EXPECT_THROW(read_image(fifo), ImageError);  // and does not wait for a writer
    write(folder / "large.jpg", std::string(2000, 'x'));
    EXPECT_THROW(read_image_bytes(folder / "large.jpg", 1999), ImageError);
}
