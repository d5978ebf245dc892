#include "data/decode_budget.h"

#include <gtest/gtest.h>

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
                                          " of --decode-memory");
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

// Pixels of a file's format never need more than what the list of files takes for granted.
TEST(DecodeBudget, knows_the_most_that_any_format_needs) {
    for (const auto& entry : test::fs::directory_iterator(test::images())) {
        ImageProbe probe;
        try {
            probe = probe_image(read_image_bytes(entry.path().string()));
        } catch (const ImageError&) {
            continue;  // a format that this build lacks
        }
        const auto padded =
            static_cast<std::uint64_t>(probe.width + 31) * static_cast<std::uint64_t>(probe.height + 31);
        EXPECT_LE(decode_bytes(probe), padded * most_decode_bytes_a_pixel) << entry.path();
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
