#include "data/decode_budget.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <thread>
#include <vector>

#include "data/files.h"

namespace onecycle {
namespace {

// A PPM of noise.
std::vector<std::uint8_t> picture(int width, int height) {
    const std::string header = "P6\n" + std::to_string(width) + " " + std::to_string(height) + "\n255\n";
    std::vector<std::uint8_t> bytes(header.begin(), header.end());
    std::uint32_t value = 1;
    for (int i = 0; i < width * height * 3; ++i)
        bytes.push_back(static_cast<std::uint8_t>((value = value * 1664525 + 1013904223) >> 24));
    return bytes;
}

DecodeOptions within(const std::shared_ptr<DecodeBudget>& budget) {
    DecodeOptions options;
    options.limits.memory = budget;
    return options;
}

// A TIFF each of whose strips (tiles, where tile_width is above 0) is `data`, at the end.
struct TiffTags {
    std::uint32_t width = 1, height = 1, tile_width = 0, tile_height = 0;
    std::uint32_t bits = 8, samples = 1, photometric = 1, compression = 8, planar = 1;
};

std::vector<std::uint8_t> tiff(const TiffTags& t, const std::vector<std::uint8_t>& data) {
    const bool tiled = t.tile_width > 0;
    std::vector<std::array<std::uint32_t, 2>> tags = {{256, t.width},       {257, t.height},
                                                      {259, t.compression}, {262, t.photometric},
                                                      {277, t.samples},     {284, t.planar}};
    if (tiled)
        tags.insert(tags.end(), {{322, t.tile_width}, {323, t.tile_height}});
    else
        tags.push_back({278, t.height});
    const std::uint32_t strips = t.planar == 2 ? t.samples : 1;
    const auto lists = static_cast<std::uint32_t>(8 + 2 + 12 * (tags.size() + 3) + 4);
    const std::uint32_t begin = lists + 2 * t.samples + 8 * strips;
    std::vector<std::uint8_t> file = {'I', 'I', '*', 0, 8, 0, 0, 0};
    const auto add = [&](std::uint32_t value, int bytes) {
        for (int k = 0; k < bytes; ++k) file.push_back(static_cast<std::uint8_t>(value >> 8 * k));
    };
    struct List {
        std::uint32_t tag, type, count, value, at;
    };
    const auto size = static_cast<std::uint32_t>(data.size());
    std::vector<List> all = {{258, 3, t.samples, t.bits, lists},
                             {tiled ? 324u : 273u, 4, strips, begin, lists + 2 * t.samples},
                             {tiled ? 325u : 279u, 4, strips, size, lists + 2 * t.samples + 4 * strips}};
    const std::vector<List> in_lists = all;
    for (const auto& [tag, value] : tags) all.push_back({tag, 4, 1, value, 0});
    std::sort(all.begin(), all.end(), [](const List& a, const List& b) { return a.tag < b.tag; });
    add(static_cast<std::uint32_t>(all.size()), 2);
    for (const List& list : all) {
        add(list.tag, 2), add(list.type, 2), add(list.count, 4);
        const bool fits = list.count * (list.type == 3 ? 2 : 4) <= 4;
        if (!fits)
            add(list.at, 4);
        else if (list.type == 4)
            add(list.value, 4);
        else
            for (std::uint32_t k = 0; k < 2; ++k) add(k < list.count ? list.value : 0, 2);
    }
    add(0, 4);
    for (const List& list : in_lists)
        for (std::uint32_t k = 0; k < list.count; ++k) add(list.value, list.type == 3 ? 2 : 4);
    file.insert(file.end(), data.begin(), data.end());
    return file;
}

std::string refusal(const std::vector<std::uint8_t>& file) {
    try {
        probe_image(file, "x", ImageLimits{});
    } catch (const ImageError& error) {
        return error.reason();
    }
    return "";
}

TEST(DecodeBudget, of_one_image_gives_eight_threads_the_same_pixels_and_is_never_exceeded) {
    const std::vector<std::uint8_t> file = picture(300, 200);
    const std::vector<std::uint8_t> expected = decode_image(file).rgb;
    const std::uint64_t one = decode_bytes(probe_image(file));
    const auto budget = make_decode_budget(one);
    std::vector<int> equal(8, 0);
    std::vector<std::thread> threads;
    for (int& count : equal)
        threads.emplace_back([&] {
            for (int i = 0; i < 20; ++i) count += decode_image(file, "", within(budget)).rgb == expected;
        });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(equal, std::vector<int>(8, 20));
    EXPECT_EQ(budget->most_taken(), one);
}

TEST(DecodeBudget, names_an_image_above_it_with_both_sums_when_its_header_is_read) {
    const std::vector<std::uint8_t> file = picture(30, 20);
    const std::uint64_t one = decode_bytes(probe_image(file));
    const DecodeOptions less = within(make_decode_budget(one - 1));
    for (const bool decode : {false, true}) {
        try {
            if (decode)
                decode_image(file, "big.ppm", less);
            else
                probe_image(file, "big.ppm", less.limits);
            FAIL() << "it was taken";
        } catch (const ImageError& error) {
            EXPECT_EQ(error.reason(), "too large: decoding it needs " + std::to_string(one) +
                                          " bytes, more than the " + std::to_string(one - 1) +
                                          " it may take; --decode-memory " + std::to_string(one) +
                                          " allows it");
        }
    }
    EXPECT_EQ(decode_image(file, "", within(make_decode_budget(one))).width, 30);
}

TEST(DecodeBudget, counts_the_coefficients_that_a_progressive_jpeg_keeps) {
    // 37 x 29 pixels, the colours at half the size: 3 x 2 squares of 16 x 16, each of four blocks of
    // brightness and one of either colour; a block is 64 coefficients of 2 bytes.
    const ImageProbe progressive = probe_image(test::bytes_of(test::images() / "progressive.jpg"));
    ASSERT_TRUE(progressive.progressive);
    EXPECT_EQ(progressive.work_bytes, 3u * 2 * (4 + 1 + 1) * 64 * 2);
    EXPECT_EQ(decode_bytes(progressive), 37u * 29 * 6 + progressive.work_bytes);
    EXPECT_EQ(probe_image(test::bytes_of(test::images() / "rgb_420.jpg")).work_bytes, 0u);
}

// The walk over a file's headers decodes a damaged JPEG, within the budget.
TEST(DecodeBudget, is_kept_to_while_headers_are_read) {
    const std::vector<std::uint8_t> file = test::bytes_of(test::images() / "noise_progressive.jpg");
    const ImageProbe probe = probe_image(file);
    const auto budget = make_decode_budget(1 << 20);
    probe_image(file, "", within(budget).limits);
    EXPECT_EQ(budget->most_taken(), probe.damaged ? decode_bytes(probe) : probe.work_bytes);
    EXPECT_GT(budget->most_taken(), 0u);
}

TEST(DecodeBudget, counts_the_strips_and_tiles_of_a_tiff_with_all_their_samples) {
    if (tiff_decoder().empty()) GTEST_SKIP() << "TIFF is not built in";
    const std::vector<std::uint8_t> data(20, 1);
    const auto needed = [&](const TiffTags& tags) { return decode_bytes(probe_image(tiff(tags, data))); };
    EXPECT_EQ(needed({.width = 400, .height = 300, .bits = 16, .samples = 16, .photometric = 2}),
              400u * 300 * (16 * 2 + 3) + 20);
    EXPECT_EQ(needed({.width = 400, .height = 300, .bits = 8, .samples = 5, .photometric = 5, .planar = 2}),
              400u * 300 * (1 + 7 + 3) + 20);
    EXPECT_EQ(needed({.tile_width = 512, .tile_height = 256}), 512u * 256 + 3 + 20);
    EXPECT_EQ(needed({.tile_width = 512, .tile_height = 256, .samples = 3, .photometric = 6}),
              512u * 256 * 11 / 2 + 3 + 20);
}

TEST(DecodeBudget, refuses_tiles_that_are_much_larger_than_their_picture) {
    if (tiff_decoder().empty()) GTEST_SKIP() << "TIFF is not built in";
    const std::vector<std::uint8_t> data(20, 1);
    const auto is_refused = [&](const TiffTags& tags) {
        return refusal(tiff(tags, data)).find("much larger than the picture") != std::string::npos;
    };
    EXPECT_TRUE(is_refused({.tile_width = 32768, .tile_height = 32768}));
    EXPECT_TRUE(is_refused({.tile_width = 65536, .tile_height = 65536, .bits = 16, .samples = 16}));
    EXPECT_TRUE(is_refused({.tile_width = 16, .tile_height = 1u << 31, .bits = 1}));
    EXPECT_TRUE(is_refused({.tile_width = 8192, .tile_height = 8192, .samples = 3, .photometric = 6}));
    EXPECT_TRUE(is_refused({.height = 60000, .tile_width = 1024, .tile_height = 65536}));
    EXPECT_TRUE(
        is_refused({.tile_width = 8192, .tile_height = 8192, .samples = 3, .photometric = 2, .planar = 2}));
    EXPECT_EQ(refusal(tiff({.width = 1500,
                            .height = 1500,
                            .tile_width = 2048,
                            .tile_height = 2048,
                            .samples = 3,
                            .photometric = 2},
                           data)),
              "");
}

// A stream has a size of its own, which its decoder keeps to whatever the tags say.
TEST(DecodeBudget, refuses_a_tiff_whose_strip_holds_a_larger_picture) {
    if (tiff_decoder().empty()) GTEST_SKIP() << "TIFF is not built in";
    EXPECT_NE(refusal(tiff({.compression = 34661}, std::vector<std::uint8_t>(20, 1)))
                  .find("compression (34661) is not supported"),
              std::string::npos);
    const std::string reason = refusal(tiff({.samples = 3, .photometric = 2, .compression = 50001},
                                            test::bytes_of(test::images() / "lossy.webp")));
    EXPECT_NE(reason, "");
    if (!webp_decoder().empty() && reason.find("not supported") == std::string::npos) {
        EXPECT_NE(reason.find("picture of another size"), std::string::npos) << reason;
    }
}

// Pixels of a file's format never need more than what the list of files takes for granted.
TEST(DecodeBudget, knows_the_most_that_any_format_needs) {
    for (const auto& entry : test::fs::directory_iterator(test::images())) {
        ImageProbe probe;
        const std::vector<std::uint8_t> bytes = test::bytes_of(entry.path());
        try {
            probe = probe_image(bytes);
        } catch (const ImageError&) {
            continue;  // a format that this build lacks
        }
        const auto padded =
            static_cast<std::uint64_t>(probe.width + 31) * static_cast<std::uint64_t>(probe.height + 31);
        EXPECT_LE(decode_bytes(probe), most_decode_bytes(padded, bytes.size())) << entry.path();
    }
}

TEST(DecodeBudget, serves_in_the_order_of_asking) {
    DecodeBudget budget(10);
    std::vector<int> order;
    std::thread large, small;
    {
        const DecodeBudget::Share held(&budget, 6);
        large = std::thread([&] {
            const DecodeBudget::Share share(&budget, 10);
            order.push_back(1);
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        small = std::thread([&] {
            const DecodeBudget::Share share(&budget, 2);
            order.push_back(2);
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    large.join();
    small.join();
    EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

}  // namespace
}  // namespace onecycle
