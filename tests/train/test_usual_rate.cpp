// What is known of a rate before any test: the form of the rule; what it is worth is
// bench/study_auto_lr.py's to say.
#include "train/usual_rate.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

namespace onecycle {
namespace {

double usual(std::int64_t images, TrainOptions options = {.arch = "resnet18"}, std::size_t classes = 10) {
    return usual_max_lr(options, architecture(options.arch).make({}), images, classes);
}

TEST(UsualRate, goes_with_the_batch_below_32_images_and_with_its_root_above) {
    EXPECT_EQ(usual(32), 0.01);
    EXPECT_EQ(usual(8), 0.0025);
    EXPECT_EQ(usual(64), 0.014);
    EXPECT_EQ(usual(128), 0.02);
    const TrainOptions adamw{.arch = "resnet18", .optimizer = OptimizerKind::adamw};
    EXPECT_EQ(usual(32, adamw), 0.001);
    EXPECT_EQ(usual(8, adamw), 0.0005) << "Adam divides the noise out";
}

TEST(UsualRate, goes_with_the_root_of_many_classes_and_knows_no_difference_of_few) {
    EXPECT_EQ(usual(32, {.arch = "resnet18"}, 2), 0.01);
    EXPECT_EQ(usual(32, {.arch = "resnet18"}, 40), 0.02);
    EXPECT_EQ(usual(32, {.arch = "resnet18"}, 1000), 0.1);
}

TEST(UsualRate, is_lower_for_deeper_networks_from_scratch_and_not_for_trained_weights) {
    EXPECT_EQ(usual(32, {.arch = "resnet34"}), 0.007);
    EXPECT_EQ(usual(32, {.arch = "resnet34", .init = "model.pth"}), 0.01);
}

TEST(UsualRate, of_lars_and_lamb_goes_with_the_root_of_the_batch_alone) {
    const TrainOptions lars{.arch = "resnet50", .optimizer = OptimizerKind::lars};
    EXPECT_EQ(usual(32768, lars, 1000), 28);
    EXPECT_EQ(usual(4096, lars, 1000), 9.9);
    EXPECT_EQ(usual(4096, {.arch = "resnet18", .init = "model.pth", .optimizer = OptimizerKind::lars}), 9.9);
    const TrainOptions lamb{.arch = "resnet50", .optimizer = OptimizerKind::lamb};
    EXPECT_EQ(usual(32768, lamb, 1000), 0.04);
    EXPECT_EQ(usual(8192, lamb, 10), 0.02);
    EXPECT_EQ(usual(512, lamb, 10), 0.005);
}

TEST(UsualRate, has_two_digits) {
    for (int images = 1; images < 5000; images = images * 3 / 2 + 1) {
        const double rate = usual(images);
        char text[32];
        std::snprintf(text, sizeof text, "%.1e", rate);
        EXPECT_EQ(rate, std::stod(text)) << images;
    }
}

}  // namespace
}  // namespace onecycle
