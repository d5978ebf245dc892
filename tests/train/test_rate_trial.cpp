// Short trainings that verify a rate: that they are trainings, and that they leave no trace.
#include "onecycle/learner.h"

#include <gtest/gtest.h>

#include "onecycle/error.h"
#include "train/tiny.h"

namespace onecycle {
namespace {

using testing::tiny_dataset;
using testing::tiny_options;

TEST(RateTrial, is_the_training_that_fit_runs_with_as_many_updates) {
    Learner tried(tiny_dataset(), tiny_options());
    const auto trials = tried.try_rates({0.05, 0.02}, {.updates = 6});
    ASSERT_EQ(trials.size(), 2u);
    for (const RateTrial& trial : trials) {
        Learner learner(tiny_dataset(), tiny_options());
        const FitResult fit = learner.fit({.max_lr = trial.lr});
        ASSERT_EQ(fit.steps, 6);
        EXPECT_EQ(trial.updates, 6);
        EXPECT_EQ(trial.n, 6);
        EXPECT_EQ(trial.valid_loss, fit.epochs.back().valid_loss) << "to the last bit, for rate " << trial.lr;
        EXPECT_EQ(trial.accuracy, fit.epochs.back().accuracy);
        EXPECT_LE(trial.interval.low, *trial.accuracy);
        EXPECT_GE(trial.interval.high, *trial.accuracy);
    }
}

TEST(RateTrial, leaves_no_trace) {
    TrainOptions options = tiny_options();
    options.ema = 0.9;
    Learner plain(tiny_dataset(), options), tried(tiny_dataset(), options);
    const std::string before = tried.state_digest();
    const auto trials = tried.try_rates({0.02}, {.updates = 4});
    EXPECT_EQ(tried.state_digest(), before);
    EXPECT_EQ(tried.try_rates({0.02}, {.updates = 4})[0].valid_loss, trials[0].valid_loss);
    plain.fit();
    tried.fit();
    EXPECT_EQ(plain.state_digest(), tried.state_digest()) << "training after it is as without it";
}

TEST(RateTrial, one_that_diverges_is_told_and_the_next_begins_afresh) {
    TrainOptions options = tiny_options();
    options.policy = "constant";  // the trial is one cycle all the same, at the momentum of that policy
    Learner learner(tiny_dataset(), options);
    const std::string before = learner.state_digest();
    const auto trials = learner.try_rates({1e30, 0.02}, {.updates = 6});
    EXPECT_FALSE(trials[0].accuracy || trials[0].valid_loss);
    EXPECT_EQ(trials[0].n, 0);
    EXPECT_EQ(learner.state_digest(), before);
    TrainOptions one_cycle = tiny_options();
    one_cycle.momentum = MomentumRange{0.9, 0.9};
    Learner fresh(tiny_dataset(), one_cycle);
    EXPECT_EQ(trials[1].valid_loss, fresh.try_rates({0.02}, {.updates = 6})[0].valid_loss);
}

TEST(RateTrial, a_signal_stops_it_without_a_trace) {
    int asked = 0;
    Learner learner(tiny_dataset(), tiny_options(), {.stop = [&] { return ++asked == 3 ? 15 : 0; }});
    const std::string before = learner.state_digest();
    EXPECT_THROW(learner.try_rates({0.02}, {.updates = 6}), Interrupted);
    EXPECT_EQ(learner.state_digest(), before);
}

TEST(RateTrial, takes_two_epochs_within_50_to_200_updates_unless_told_otherwise) {
    Learner learner(tiny_dataset(), tiny_options());
    EXPECT_EQ(learner.try_rates({0.02})[0].updates, 50) << "two epochs are 6";
    EXPECT_THROW(learner.try_rates({0.02}, {.updates = -1}), Error);
}

}  // namespace
}  // namespace onecycle
