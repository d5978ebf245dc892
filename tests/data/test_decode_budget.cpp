#include "data/decode_budget.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

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

struct DecodeBudgetTest : ::testing::Test {
    ~DecodeBudgetTest() override { decode_budget().set(before); }
    const std::uint64_t before = decode_budget().bytes();
};

TEST_F(DecodeBudgetTest, of_one_image_gives_eight_threads_the_same_pixels_and_is_never_exceeded) {
    const std::vector<std::uint8_t> file = picture(300, 200);
    const std::vector<std::uint8_t> expected = decode_image(file).rgb;
    const std::uint64_t one = decode_bytes(probe_image(file));
    decode_budget().set(one);
    std::vector<int> equal(8, 0);
    std::vector<std::thread> threads;
    for (int& count : equal)
        threads.emplace_back([&] {
            for (int i = 0; i < 20; ++i) count += decode_image(file).rgb == expected;
        });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(equal, std::vector<int>(8, 20));
    EXPECT_EQ(decode_budget().most_taken(), one);
}

TEST_F(DecodeBudgetTest, names_an_image_above_it_with_both_sums) {
    const std::vector<std::uint8_t> file = picture(30, 20);
    const std::uint64_t one = decode_bytes(probe_image(file));
    decode_budget().set(one - 1);
    try {
        decode_image(file, "big.ppm");
        FAIL() << "it was decoded";
    } catch (const ImageError& error) {
        EXPECT_EQ(error.reason(), "too large: decoding it needs " + std::to_string(one) +
                                      " bytes, more than the " + std::to_string(one - 1) +
                                      " of --decode-memory");
    }
    decode_budget().set(one);
    EXPECT_EQ(decode_image(file).width, 30) << "a refusal keeps nothing";
}

TEST_F(DecodeBudgetTest, serves_in_the_order_of_asking) {
    DecodeBudget budget(10);
    std::vector<int> order;
    std::thread large, small;
    {
        const DecodeBudget::Share held = budget.take(6);
        large = std::thread([&] {
            const DecodeBudget::Share share = budget.take(10);
            order.push_back(1);
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        small = std::thread([&] {
            const DecodeBudget::Share share = budget.take(2);
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
