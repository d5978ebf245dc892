// A step that is left in its midst has not begun: what is saved then is the state after the last
// update, and who goes on from it gets the same bytes.
#include <gtest/gtest.h>

#include "train/tiny.h"

namespace onecycle {
namespace {

namespace fs = std::filesystem;
using testing::read_text;
using testing::TemporaryFolder;
using testing::tiny_architecture;
using testing::tiny_dataset;
using testing::tiny_options;

// Asks to stop at the n-th question after so many updates, and ever after.
struct StopWithin {
    std::int64_t updates;
    int question;
    std::int64_t done = 0;
    int asked = 0;

    Observer observer() {
        return {.on_step = [this](const StepReport& report) { done = report.step + 1; },
                .stop_at_once = [this] { return done == updates && ++asked >= question ? 15 : 0; }};
    }
};

TrainOptions two_micro_batches() {
    TrainOptions options = tiny_options();
    options.batch_size = 4;
    options.accumulate = 2;
    options.ema = 0.9;
    return options;
}

class StopAtOnce : public ::testing::TestWithParam<TrainOptions> {};

TEST_P(StopAtOnce, anywhere_in_a_step_saves_the_last_update_and_resumes_to_the_same_bytes) {
    const TemporaryFolder folder;
    const auto fit = [&](const std::string& name, const Observer& observer = {}) {
        Learner learner(tiny_dataset(), GetParam(), observer, tiny_architecture());
        RunFolder run =
            fs::exists(folder / name) ? RunFolder::open(folder / name) : RunFolder::create(folder / name);
        return learner.fit({.run = &run});
    };
    const FitResult whole = fit("whole");
    int steps = 0;
    const FitResult between = fit("between", {.stop = [&] { return ++steps == 2 ? 2 : 0; }});
    ASSERT_EQ(between.step, 2);
    for (const int question : {1, 4, 14}) {
        SCOPED_TRACE(question);
        const std::string name = "stopped-" + std::to_string(question);
        StopWithin stop{.updates = 2, .question = question};
        const FitResult stopped = fit(name, stop.observer());
        EXPECT_EQ(stopped.signal, 15);
        EXPECT_EQ(stopped.step, 2);
        EXPECT_EQ(stopped.digest, between.digest) << "as if saved between two steps";
        EXPECT_EQ(fit(name).digest, whole.digest);
        EXPECT_EQ(read_text(folder / (name + "/steps.csv")), read_text(folder / "whole/steps.csv"));
    }
}

INSTANTIATE_TEST_SUITE_P(Options, StopAtOnce, ::testing::Values(tiny_options(), two_micro_batches()));

TEST(StopAtOnce, within_an_evaluation_saves_the_update_before_it) {
    const TemporaryFolder folder;
    StopWithin stop{.updates = 3, .question = 5};
    Learner learner(tiny_dataset(), tiny_options(), stop.observer(), tiny_architecture());
    RunFolder run = RunFolder::create(folder / "run");
    const FitResult stopped = learner.fit({.run = &run});
    EXPECT_EQ(stopped.signal, 15);
    EXPECT_EQ(stopped.step, 3);
    EXPECT_EQ(stopped.epochs.size(), 0u);
    EXPECT_TRUE(stopped.checkpoint.ends_with("step-000003.safetensors"));

    Learner whole(tiny_dataset(), tiny_options(), {}, tiny_architecture());
    RunFolder other = RunFolder::create(folder / "other");
    const FitResult expected = whole.fit({.run = &other});
    const FitResult resumed =
        Learner(tiny_dataset(), tiny_options(), {}, tiny_architecture()).fit({.run = &run});
    EXPECT_EQ(resumed.digest, expected.digest);
}

TEST(StopAtOnce, within_a_range_test_leaves_no_trace) {
    int asked = 0;
    Learner learner(tiny_dataset(), two_micro_batches(),
                    {.stop_at_once = [&] { return ++asked >= 200 ? 15 : 0; }}, tiny_architecture());
    const RangeTestResult test = learner.find({.start_lr = 1e-4, .end_lr = 1, .steps = 12});
    EXPECT_EQ(test.stopped, RangeTestStop::signal);
    EXPECT_EQ(test.signal, 15);
    EXPECT_EQ(asked, 200) << "it is asked no more once it has said so";
    EXPECT_EQ(test.digest_after, test.digest_before);
    EXPECT_EQ(learner.state_digest(), test.digest_before);
}

TEST(SaveAsked, saves_the_update_that_was_reached_and_goes_on_to_the_same_bytes) {
    const TemporaryFolder folder;
    const std::string path = folder / "run", saved = path + "/checkpoints/step-000002.safetensors";
    int asked = 0;
    bool there = false;
    const Observer observer{
        .on_epoch = [&](const EpochReport& row) { there |= row.epoch == 0 && fs::exists(saved); },
        .save = [&] { return ++asked == 2; }};
    Learner learner(tiny_dataset(), tiny_options(), observer, tiny_architecture());
    RunFolder run = RunFolder::create(path);
    const FitResult result = learner.fit({.run = &run});
    EXPECT_TRUE(result.finished());
    EXPECT_TRUE(there);

    Learner whole(tiny_dataset(), tiny_options(), {}, tiny_architecture());
    RunFolder other = RunFolder::create(folder / "other");
    EXPECT_EQ(whole.fit({.run = &other}).digest, result.digest);
    EXPECT_EQ(read_text(path + "/steps.csv"), read_text(folder / "other/steps.csv"));
}

}  // namespace
}  // namespace onecycle
