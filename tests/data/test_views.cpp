// What a view of an image is made of: draws and weights that host and device share.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "rules/resample.h"
#include "rules/sample_order.h"
#include "rules/view.h"

using namespace onecycle;

TEST(Views, the_series_agree_with_the_library_to_the_last_digits) {
    for (int i = -10000; i <= 10000; ++i) {
        const double x = i * 1.3e-4;
        EXPECT_NEAR(small_exp(x), std::exp(x), 8e-16 * std::exp(x)) << x;
        EXPECT_NEAR(small_cos(x / 2), std::cos(x / 2), 2.3e-16) << x;
        EXPECT_NEAR(small_sin(x / 2), std::sin(x / 2), 2.3e-16) << x;
    }
}

// torchvision's formula with the library's exponential.
TEST(Views, crops_are_those_of_the_formula) {
    int tries = 0;
    for (std::uint64_t index = 0; index < 20000; ++index) {
        const int width = 1 + static_cast<int>(index * 7919 % 900),
                  height = 1 + static_cast<int>(index * 104729 % 700);
        RandomStream random(3, RandomPurpose::augment, 0, index), same(3, RandomPurpose::augment, 0, index);
        const Rectangle crop = draw_crop(width, height, 0.35, random);
        ASSERT_TRUE(crop.x >= 0 && crop.y >= 0 && crop.width >= 1 && crop.height >= 1);
        ASSERT_TRUE(crop.x + crop.width <= width && crop.y + crop.height <= height);
        const double area = static_cast<double>(width) * height * same.uniform(0.35, 1.0);
        const double ratio = std::exp(same.uniform(std::log(0.75), std::log(4.0 / 3)));
        const double w = std::nearbyint(std::sqrt(area * ratio)), h = std::nearbyint(std::sqrt(area / ratio));
        if (w > width || h > height) continue;  // a later try
        ++tries;
        ASSERT_EQ(crop.width, w);
        ASSERT_EQ(crop.height, h);
    }
    EXPECT_GT(tries, 5000);
}

TEST(Views, no_side_of_a_crop_is_much_longer_than_the_other_allows) {
    for (std::uint64_t index = 0; index < 20000; ++index) {
        const int width = 1 + static_cast<int>(index % 50), height = 1 + static_cast<int>(index * 31 % 2000);
        RandomStream random(4, RandomPurpose::augment, 0, index);
        const Rectangle crop = draw_crop(width, height, 0.2, random);
        EXPECT_LE(std::max(crop.width, crop.height), longest_crop(width, height)) << width << " x " << height;
        EXPECT_LE(longest_crop(width, height), 4 * std::min(width, height) / 3 + 2);
    }
}

TEST(Views, weights_add_up_to_one_and_stay_inside_the_image) {
    for (const auto& [inputs, low, high, outputs] : {std::tuple{100, 0.0f, 100.0f, 30},
                                                     {100, 20.0f, 53.0f, 64},
                                                     {1, 0.0f, 1.0f, 7},
                                                     {500, 499.0f, 500.0f, 3}}) {
        const ResampleAxis axis = resample_axis(inputs, low, high, outputs);
        std::vector<std::int32_t> weights(static_cast<std::size_t>(most_taps(axis.support)));
        for (int i = 0; i < outputs; ++i) {
            const Taps taps = resample_weights(axis, i, weights.data());
            ASSERT_GE(taps.first, 0);
            ASSERT_GE(taps.count, 1);
            ASSERT_LE(taps.first + taps.count, inputs);
            ASSERT_LE(taps.count, static_cast<int>(weights.size()));
            std::int64_t sum = 0;
            for (int k = 0; k < taps.count; ++k) sum += weights[static_cast<std::size_t>(k)];
            EXPECT_NEAR(static_cast<double>(sum), 1 << resample_bits, taps.count);
        }
    }
}

TEST(Views, an_epoch_has_whole_updates_and_at_least_one_batch) {
    const auto batches = [](std::int64_t samples, int batch, int per_update) {
        return SampleOrder{1, RandomPurpose::shuffle, samples, batch, per_update}.batches_per_epoch();
    };
    EXPECT_EQ(batches(100, 10, 1), 10);
    EXPECT_EQ(batches(109, 10, 1), 10);
    EXPECT_EQ(batches(109, 10, 3), 9);
    EXPECT_EQ(batches(109, 10, 11), 10);
    EXPECT_EQ(batches(9, 10, 1), 1);
    const SampleOrder order{1, RandomPurpose::shuffle, 109, 10, 3};
    EXPECT_EQ(order.number_of(2, 1, 0), 7);
    EXPECT_EQ(order.epoch_of(order.number_of(3, 0, 0)), 1u);
    EXPECT_EQ(order.epoch_of(order.number_of(2, 2, 1u << 31)), 1u << 31);
}

// 109 samples in 4 shares: 28, 27, 27, 27. An update takes two batches of 3 from each: 4 updates an
// epoch, 13 samples left over.
TEST(SampleOrder, shares_are_a_random_deal_of_all_samples_for_all_epochs) {
    const SampleOrder order{.seed = 7,
                            .purpose = RandomPurpose::shuffle,
                            .samples = 109,
                            .batch = 3,
                            .batches_per_update = 8,
                            .shares = 4};
    std::vector<int> share_of(109, -1);
    for (int share = 0; share < 4; ++share) {
        EXPECT_EQ(order.samples_in(share), share == 0 ? 28 : 27);
        std::vector<int> of_class(4);  // whose samples are 27 or 28 in a row
        for (std::int64_t place = 0; place < order.samples_in(share); ++place) {
            const auto sample = static_cast<std::size_t>(order.sample_in(share, place));
            ASSERT_LT(sample, share_of.size());
            EXPECT_EQ(share_of[sample], -1) << "dealt twice";
            share_of[sample] = share;
            ++of_class[std::min<std::size_t>(sample / 27, 3)];
        }
        for (const int n : of_class) EXPECT_TRUE(2 <= n && n <= 14) << n;
    }
    ASSERT_EQ(order.batches_per_epoch(), 32);
    for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
        std::set<std::int64_t> drawn;
        for (std::int64_t number = 32 * epoch; number < 32 * (epoch + 1); ++number) {
            EXPECT_EQ(order.epoch_of(number), epoch);
            for (int position = 0; position < 3; ++position) {
                const std::int64_t sample = order.sample_at(number, position);
                EXPECT_EQ(share_of[static_cast<std::size_t>(sample)], number % 4);
                EXPECT_TRUE(drawn.insert(sample).second) << "drawn twice in an epoch";
                for (std::int64_t turn = 1; turn < 60; ++turn)
                    ASSERT_EQ(share_of[static_cast<std::size_t>(order.sample_at(number, position, turn))],
                              number % 4);
            }
        }
        EXPECT_EQ(drawn.size(), 96u);
    }
}

TEST(SampleOrder, shares_are_shuffled_each_by_itself_and_anew_in_each_epoch) {
    const SampleOrder order{.seed = 7,
                            .purpose = RandomPurpose::shuffle,
                            .samples = 60,
                            .batch = 5,
                            .batches_per_update = 2,
                            .shares = 2};
    std::set<std::pair<std::int64_t, std::int64_t>> together;  // at the same position of an update
    for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
        std::set<std::int64_t> drawn;
        for (std::int64_t update = 0; update < 6; ++update)
            for (int position = 0; position < 5; ++position) {
                const std::int64_t number = 12 * epoch + 2 * update, one = order.sample_at(number, position),
                                   other = order.sample_at(number + 1, position);
                together.insert({one, other});
                drawn.insert({one, other});
            }
        EXPECT_EQ(drawn.size(), 60u) << "no sample is left over";
    }
    EXPECT_GT(together.size(), 80u) << "of 90: samples do not go in pairs";
    SampleOrder other = order;
    other.seed = 8;
    int elsewhere = 0;
    for (std::int64_t place = 0; place < 30; ++place)
        elsewhere += other.sample_in(0, place) != order.sample_in(0, place);
    EXPECT_GT(elsewhere, 20) << "another seed deals otherwise";
    // A batch that an epoch has no update of, as a range test may take.
    other.batch = 20;
    other.batches_per_update = 4;
    EXPECT_EQ(other.batches_per_epoch(), 2);
    EXPECT_EQ(other.epoch_of(3), 1u);
    other.shares = 1;
    EXPECT_EQ(other.batches_per_epoch(), 3);
}
