// Training from images that stay on the device is the training that the host feeds, bit for bit;
// and its steps copy nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <stdexcept>

#include "device/communicator.h"
#include "device/emulated/memory.h"
#include "onecycle/error.h"
#include "train/advice.h"
#include "train/engine.h"
#include "train/learner_core.h"
#include "train/recorded_images.h"
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

// One rank of two, of which each finds what this one does.
class OneOfTwo : public Communicator {
  public:
    explicit OneOfTwo(int rank) {
        place_.rank = place_.local_rank = rank, place_.ranks = place_.local_ranks = 2;
    }
    const RankPlace& place() const override { return place_; }
    std::string name() const override { return "a test"; }
    void broadcast(std::span<std::byte>) override {}
    void all_gather(std::span<const std::byte> own, std::byte* all) override {
        for (int r = 0; r < 2; ++r) std::copy(own.begin(), own.end(), all + r * std::ssize(own));
    }
    void scatter(const std::byte*, std::byte*, const Partition&) override {
        throw std::logic_error("no step");
    }
    void gather(std::byte*, const Partition&) override { throw std::logic_error("no step"); }
    void finish() override {}
    [[noreturn]] void abort(int code) override { std::exit(code); }

  private:
    RankPlace place_;
};

struct Spread : ::testing::Test {
    // The memory in which a step and this part of all images fit.
    std::size_t memory_for(double part) const {
        return state + static_cast<std::size_t>((step + part * images) / 0.9) + 8192;
    }
    LearnerCore core_of(int rank, TrainOptions options) {
        return LearnerCore(tiny_dataset(), resolved(options),
                           {.log = [this](LogLevel, const std::string& line) { lines += line + "\n"; },
                            .ranks = std::make_shared<OneOfTwo>(rank)},
                           tiny_architecture());
    }
    void SetUp() override {
        const LearnerCore core = core_of(0, emulated_options("resident"));
        ASSERT_EQ(core.options.shares, 1);
        images = static_cast<double>(core.resident->bytes());
        step = static_cast<double>(std::max(core.step.arena_bytes(), core.evaluator.arena_bytes()));
        state = emulated::device_memory_in_use() - static_cast<std::size_t>(images + step);
        lines.clear();
    }
    void TearDown() override { emulated::set_device_memory(whole); }

    const std::size_t whole = emulated::device_memory();
    double images = 0, step = 0;
    std::size_t state = 0;
    std::string lines;
};

TEST_F(Spread, each_rank_holds_its_share_where_no_device_has_room_for_all_images) {
    for (const char* input : {"auto", "resident"}) {
        lines.clear();
        emulated::set_device_memory(memory_for(0.75));
        std::size_t bytes = 0;
        for (int rank = 0; rank < 2; ++rank) {
            const LearnerCore core = core_of(rank, emulated_options(input));
            ASSERT_TRUE(core.resident.has_value());
            EXPECT_EQ(core.options.shares, 2);
            EXPECT_NE(run_config(core.options, "").find("\"shares\": 2"), std::string::npos);
            EXPECT_NEAR(static_cast<double>(core.resident->bytes()), images / 2, images / 10);
            bytes += static_cast<std::size_t>(core.resident->input().pixel_bytes);
            bool said = false;
            for (const std::string& line : describe(core))
                said |= line.starts_with("resident: 1/2 of the images on each of 2 devices, ");
            EXPECT_TRUE(said);
        }
        emulated::set_device_memory(whole);
        EXPECT_EQ(bytes, static_cast<std::size_t>(
                             core_of(0, emulated_options(input)).resident->input().pixel_bytes));
        EXPECT_NE(lines.find("are spread over the ranks"), std::string::npos) << lines;
    }
}

TEST_F(Spread, a_run_that_was_begun_without_shares_goes_on_without_them) {
    emulated::set_device_memory(memory_for(0.75));
    TrainOptions options = emulated_options("auto");
    options.shares = 1;
    EXPECT_FALSE(core_of(0, options).resident.has_value());
    options.input = "resident";
    EXPECT_THROW(core_of(0, options), Error);
}

TEST_F(Spread, an_update_takes_equally_many_batches_from_each_share) {
    TrainOptions options = emulated_options("auto");
    options.shares = 3;
    options.accumulate = 2;
    try {
        core_of(0, options);
        ADD_FAILURE() << "four batches cannot be of three shares";
    } catch (const Error& error) {
        EXPECT_EQ(error.exit_code(), 2);
        EXPECT_NE(std::string(error.what()).find("use --accumulate 3"), std::string::npos) << error.what();
    }
    options.accumulate = 3;
    options.batch_size = 4;
    EXPECT_EQ(core_of(0, options).options.shares, 3);
}

TEST_F(Spread, what_has_no_room_for_a_share_streams_or_is_refused) {
    emulated::set_device_memory(memory_for(0.3));
    TrainOptions options = emulated_options("auto");
    const LearnerCore core = core_of(1, options);
    EXPECT_FALSE(core.resident.has_value());
    EXPECT_EQ(core.options.shares, 1) << "the order of all images";
    options.input = "resident";
    try {
        core_of(1, options);
        ADD_FAILURE() << "it does not fit";
    } catch (const Error& error) {
        EXPECT_EQ(error.exit_code(), 7);
        EXPECT_NE(std::string(error.what()).find("with 1/2 of the images"), std::string::npos)
            << error.what();
    }
}

// What two ranks that hold a share each compute, is computed so by one.
TEST(ResidentTraining, one_rank_keeps_to_shares_resident_or_fed_and_with_a_lost_image) {
    const TemporaryFolder folder;
    const std::string data = folder / "images";
    fs::copy(testing::tiny_images(), data, fs::copy_options::recursive);
    TrainOptions options = emulated_options("stream");
    options.data = data;
    options.batch_size = 4;
    options.accumulate = 2;
    options.mixup = 0.4;
    options.cutmix = 1;
    options.max_bad = 0.5;
    const Dataset dataset = open_dataset(data);
    fs::remove(dataset.train[3].path());
    fs::remove(dataset.train[14].path());
    std::set<std::string> digests;
    for (const int shares : {1, 2}) {
        options.shares = shares;
        std::string expected;
        for (const char* input : {"stream", "resident"}) {
            options.input = input;
            LearnerCore core(dataset, resolved(options), {}, tiny_architecture());
            EXPECT_EQ(core.resident.has_value(), options.input == "resident");
            run_fit(core, {});
            if (expected.empty()) expected = core.state.digest();
            EXPECT_EQ(core.state.digest(), expected) << shares << " " << input;
        }
        digests.insert(expected);
    }
    EXPECT_EQ(digests.size(), 2u) << "shares decide the result";
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
