// Training from images that stay on the device is the training that the host feeds, bit for bit;
// and its steps copy nothing.
#include <gtest/gtest.h>

#include "device/emulated/memory.h"
#include "onecycle/error.h"
#include "train/engine.h"
#include "train/learner_core.h"
#include "train/tiny.h"

namespace onecycle {
namespace {

namespace fs = std::filesystem;
using testing::read_text;
using testing::TemporaryFolder;
using testing::tiny_architecture;
using testing::tiny_dataset;
using testing::tiny_options;

// The demo images have 40 to 53 pixels, and 42 are kept of the shorter side.
TrainOptions emulated_options(const std::string& input) {
    TrainOptions options = tiny_options();
    options.device = "emulated";
    options.precision = "fp32";
    options.input = input;
    options.epochs = 1;
    return options;
}

TEST(ResidentTraining, equals_training_that_the_host_feeds_bit_for_bit) {
    for (AugmentPolicy augment : {AugmentPolicy::standard, AugmentPolicy::strong}) {
        std::string expected;
        for (const char* input : {"stream", "resident"}) {
            TrainOptions options = emulated_options(input);
            options.augment = augment;
            options.mixup = 0.4;
            options.cutmix = augment == AugmentPolicy::strong ? 1 : 0;
            LearnerCore core(tiny_dataset(), resolved(options), {}, tiny_architecture());
            EXPECT_EQ(core.resident.has_value(), options.input == "resident");
            run_fit(core, {});
            if (expected.empty()) expected = core.state.digest();
            EXPECT_EQ(core.state.digest(), expected) << to_string(augment);
        }
    }
}

// 30 images: 10 batches of 3, of which an epoch of two updates uses 8. Three updates are an epoch
// and a half.
TEST(ResidentTraining, the_range_test_too_over_epochs_that_end_with_a_part_update) {
    std::vector<double> expected;
    for (const char* input : {"stream", "resident"}) {
        TrainOptions options = emulated_options(input);
        options.batch_size = 3;
        options.accumulate = 4;
        options.mixup = 0.4;
        options.cutmix = 1;
        Learner learner(tiny_dataset(), options, {}, tiny_architecture());
        const RangeTestResult test = learner.find({.start_lr = 1e-3, .end_lr = 1e-2, .steps = 3});
        EXPECT_EQ(test.digest_before, test.digest_after);
        ASSERT_EQ(test.loss.size(), 3u);
        if (expected.empty()) expected = test.loss;
        EXPECT_EQ(test.loss, expected);
    }
}

TEST(ResidentTraining, resumed_in_mid_epoch_ends_with_the_same_bytes) {
    const TemporaryFolder folder;
    TrainOptions options = emulated_options("resident");
    options.batch_size = 5;
    options.accumulate = 2;  // three updates an epoch
    options.cutmix = 1;
    options.checkpoint_every = 1;
    const std::string whole = folder / "whole", killed = folder / "killed";
    const auto copy_at = [&](const StepReport& report) {
        if (report.step == 2) fs::copy(whole, killed, fs::copy_options::recursive);
    };
    {
        Learner learner(tiny_dataset(), options, {.on_step = copy_at}, tiny_architecture());
        RunFolder run = RunFolder::create(whole);
        EXPECT_TRUE(learner.fit({.run = &run}).finished());
    }
    Learner learner(tiny_dataset(), options, {}, tiny_architecture());
    RunFolder run = RunFolder::open(killed);
    EXPECT_TRUE(learner.fit({.run = &run}).finished());
    EXPECT_EQ(read_text(killed + "/steps.csv"), read_text(whole + "/steps.csv"));
    const std::string last = "/checkpoints/step-000003.safetensors";
    EXPECT_TRUE(read_text(killed + last) == read_text(whole + last));
}

TEST(ResidentTraining, a_step_is_one_graph_launch_and_copies_nothing) {
    const TrainOptions options = resolved(emulated_options("resident"));
    LearnerCore core(tiny_dataset(), options, {}, tiny_architecture());
    ASSERT_FALSE(core.step.takes_batches());
    EXPECT_EQ(core.start_batches(core.step, core.train_loader(), 0, 3), 0);
    begin_updates(core.state, make_schedule(policy_options(options), {options.epochs, 3}, 0.02), 0, 3);
    core.engine.device->synchronize();
    const RuntimeCalls before = core.engine.device->runtime_calls();
    for (int k = 0; k < 3; ++k) core.step.launch(0);
    RuntimeCalls after = core.engine.device->runtime_calls();
    EXPECT_EQ(after.blocking, before.blocking);
    for (const auto& [name, count] : after.of) {
        const auto earlier = before.of.find(name);
        EXPECT_EQ(count - (earlier == before.of.end() ? 0 : earlier->second),
                  name == "cudaGraphLaunch" || name == "cudaSetDevice" ? 3u : 0u)
            << name;
    }
    core.engine.device->synchronize();
    EXPECT_EQ(core.state.read_control().update, 3);
}

TEST(ResidentTraining, a_set_that_does_not_fit_is_streamed_and_refused_where_it_was_asked_for) {
    const std::size_t whole = emulated::device_memory();
    std::vector<std::string> lines;
    const Observer observer{.log = [&](LogLevel, const std::string& line) { lines.push_back(line); }};
    TrainOptions options = emulated_options("auto");
    {
        const LearnerCore core(tiny_dataset(), resolved(emulated_options("resident")), {});
        ASSERT_GT(core.resident->bytes(), 30u * 40 * 40 * 3);
    }
    // State (90 MB of weights and moments), and not enough for the images beside the step's arena.
    std::size_t state = 0;
    {
        const LearnerCore core(tiny_dataset(), resolved(emulated_options("stream")), {});
        state = emulated::device_memory_in_use();
    }
    emulated::set_device_memory(state + 4096);
    const LearnerCore core(tiny_dataset(), resolved(options), observer);
    EXPECT_FALSE(core.resident.has_value());
    ASSERT_FALSE(lines.empty());
    EXPECT_NE(lines[0].find("stay on the host"), std::string::npos) << lines[0];
    options.input = "resident";
    try {
        const Learner refused(tiny_dataset(), options);
        ADD_FAILURE() << "it does not fit";
    } catch (const Error& error) {
        EXPECT_EQ(error.exit_code(), 7);
    }
    emulated::set_device_memory(whole);
}

TEST(ResidentTraining, a_stop_while_the_images_are_decoded_ends_it_in_order) {
    Learner learner(tiny_dataset(), emulated_options("resident"), {.stop = [] { return 15; }});
    const FitResult result = learner.fit();
    EXPECT_EQ(result.signal, 15);
    EXPECT_EQ(result.step, 0);
    EXPECT_EQ(learner.find({.steps = 5}).signal, 15);
}

}  // namespace
}  // namespace onecycle
