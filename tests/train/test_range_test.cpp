// The range test as it is run: the ramp, the way it ends, and that it leaves no trace.
#include "onecycle/range_test.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

#include "train/tiny.h"

namespace onecycle {
namespace {

using testing::tiny_dataset;
using testing::tiny_options;

constexpr FindOptions short_test{.start_lr = 1e-5, .end_lr = 0.1, .steps = 5};

TEST(RangeTest, rates_rise_evenly_to_the_end_that_was_asked_for) {
    Learner learner(tiny_dataset(), tiny_options());
    const RangeTestResult test = learner.find(short_test);
    EXPECT_EQ(test.stopped, RangeTestStop::end);
    ASSERT_EQ(test.lr.size(), 5u);
    ASSERT_EQ(test.loss.size(), 5u);
    for (std::size_t k = 0; k < 5; ++k)
        EXPECT_NEAR(test.lr[k] / std::pow(10, -5 + static_cast<int>(k)), 1, 1e-12);
    EXPECT_EQ(test.lr.back(), 0.1);
    EXPECT_EQ(test.momentum, 0.85) << "where one-cycle has its peak";
    EXPECT_NEAR(test.passes, 5 * 8 / 30.0, 1e-12);
    EXPECT_EQ(test.analysis.loss, test.loss);
}

TEST(RangeTest, leaves_no_trace) {
    TrainOptions options = tiny_options();
    options.ema = 0.9;
    Learner plain(tiny_dataset(), options), tested(tiny_dataset(), options);
    const std::string fresh = plain.state_digest();
    const RangeTestResult first = tested.find(short_test), second = tested.find(short_test);
    EXPECT_EQ(first.digest_before, fresh);
    EXPECT_EQ(first.digest_after, fresh);
    EXPECT_EQ(first.loss, second.loss) << "the same test twice is the same test";
    plain.fit();
    tested.fit();
    EXPECT_EQ(plain.state_digest(), tested.state_digest()) << "training after it is as without it";

    const std::string trained = tested.state_digest();
    const RangeTestResult later = tested.find(short_test);
    EXPECT_EQ(later.digest_before, trained);
    EXPECT_EQ(later.digest_after, trained);
    EXPECT_NE(later.loss, first.loss);
}

TEST(RangeTest, leaves_no_trace_when_it_is_stopped) {
    int asked = 0;
    Learner learner(tiny_dataset(), tiny_options(), {.stop = [&] { return ++asked == 3 ? 15 : 0; }});
    const std::string before = learner.state_digest();
    const RangeTestResult test = learner.find(short_test);
    EXPECT_EQ(test.stopped, RangeTestStop::signal);
    EXPECT_EQ(test.signal, 15);
    EXPECT_EQ(test.loss.size(), 3u);
    EXPECT_EQ(learner.state_digest(), before);
    EXPECT_EQ(test.digest_after, before);
}

TEST(RangeTest, leaves_no_trace_when_an_exception_passes) {
    Learner learner(tiny_dataset(), tiny_options(), {.on_step = [](const StepReport& report) {
                        if (report.step == 2) throw std::runtime_error("from outside");
                    }});
    const std::string before = learner.state_digest();
    EXPECT_THROW(learner.find(short_test), std::runtime_error);
    EXPECT_EQ(learner.state_digest(), before);
}

TEST(RangeTest, stops_when_the_loss_leaves_for_good) {
    Learner learner(tiny_dataset(), tiny_options());
    const std::string before = learner.state_digest();
    const RangeTestResult test = learner.find({.start_lr = 1e-4, .end_lr = 1e30, .steps = 40});
    EXPECT_NE(test.stopped, RangeTestStop::end);
    EXPECT_LT(test.loss.size(), 40u);
    for (double loss : test.loss) EXPECT_TRUE(std::isfinite(loss));
    EXPECT_EQ(learner.state_digest(), before);
}

TEST(RangeTest, a_sweep_starts_each_test_from_the_same_state) {
    Learner learner(tiny_dataset(), tiny_options());
    const std::string before = learner.state_digest();
    const RangeTestResult alone = learner.find(short_test);
    const auto by_momentum = learner.sweep(SweepParameter::momentum, {0.5, 0.85}, short_test);
    ASSERT_EQ(by_momentum.size(), 2u);
    EXPECT_EQ(by_momentum[1].test.loss, alone.loss) << "0.85 is what find uses";
    EXPECT_EQ(by_momentum[0].test.loss.front(), alone.loss.front());
    EXPECT_NE(by_momentum[0].test.loss, alone.loss);

    const auto by_decay = learner.sweep(SweepParameter::weight_decay, {1e-4, 10}, short_test);
    EXPECT_EQ(by_decay[0].test.loss, alone.loss) << "1e-4 is the default of sgd";
    EXPECT_EQ(by_decay[1].test.loss.front(), alone.loss.front());
    EXPECT_NE(by_decay[1].test.loss, alone.loss);

    const auto by_batch = learner.sweep(SweepParameter::batch_size, {4, 8}, short_test);
    EXPECT_EQ(by_batch[1].test.loss, alone.loss);
    EXPECT_NE(by_batch[0].test.loss, alone.loss);
    EXPECT_EQ(learner.state_digest(), before);
    EXPECT_THROW(learner.sweep(SweepParameter::batch_size, {8, 1.5}, short_test), Error);
}

}  // namespace
}  // namespace onecycle
