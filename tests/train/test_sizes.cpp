// Progressive resizing: one training whose images grow. Against the same done by hand with a
// learner for each size.
#include <gtest/gtest.h>

#include "device/emulated/memory.h"
#include "onecycle/error.h"
#include "onecycle/model.h"
#include "train/advice.h"
#include "train/learner_core.h"
#include "train/model_info.h"
#include "train/model_tensors.h"
#include "train/tiny.h"

namespace onecycle {
namespace {

namespace fs = std::filesystem;
using testing::read_text;
using testing::TemporaryFolder;
using testing::tiny_architecture;
using testing::tiny_dataset;
using testing::tiny_options;

constexpr int first_size = 32, second_size = 48;
constexpr std::int64_t border = 2;  // updates of an epoch

// An epoch at each size. The images, of 40 to 53 pixels, are kept on the device as they are.
TrainOptions progressive(const std::string& device, AugmentPolicy augment = AugmentPolicy::standard) {
    TrainOptions options = tiny_options();
    options.device = device;
    if (device == "emulated") options.precision = "fp32";
    options.augment = augment;
    options.batch_size = 15;
    options.crop_pct = 0.6;
    options.ema = 0.9;
    options.size = second_size;
    options.sizes = {{first_size, 1}, {second_size, 1}};
    return options;
}

TrainOptions of_one_size(TrainOptions options, int size) {
    options.sizes.clear();
    options.size = size;
    return options;
}

// Trains a learner that has one size from step `first` to `last` of the whole training's schedule.
void train_by_hand(LearnerCore& core, std::int64_t first, std::int64_t last) {
    begin_updates(
        core.state,
        make_schedule(policy_options(core.options), {core.options.epochs, border}, *core.options.max_lr),
        first, 2 * border);
    ASSERT_EQ(core.start_batches(core.step, core.train_loader(), first, last), 0);
    run_updates(core.state, core.step, core.train_loader(), last, [](const RingEntry&) { return true; });
}

// Where the network does not matter: the emulated device is slow.
Architecture architecture_on(const std::string& device) {
    return device == "emulated" ? tiny_architecture() : architecture("resnet18");
}

std::string digest_by_hand(const TrainOptions& options) {
    const Architecture network = architecture_on(options.device);
    LearnerCore first(tiny_dataset(), of_one_size(options, first_size), {}, network);
    clear_moments(first.state);
    train_by_hand(first, 0, border);
    LearnerCore second(tiny_dataset(), of_one_size(options, second_size), {}, network);
    second.state.set_weights(first.state.weights());
    second.state.set_weights(first.state.weights(true), true);
    second.state.set_moments(first.state.moments());
    train_by_hand(second, border, 2 * border);
    return second.state.digest();
}

class SizesOn : public ::testing::TestWithParam<const char*> {};

TEST_P(SizesOn, train_as_two_learners_do_one_after_the_other) {
    const TrainOptions options = progressive(GetParam());
    Learner learner(tiny_dataset(), options, {}, architecture_on(options.device));
    EXPECT_TRUE(learner.fit().finished());
    EXPECT_EQ(learner.state_digest(), digest_by_hand(options));
}

INSTANTIATE_TEST_SUITE_P(Devices, SizesOn, ::testing::Values("cpu", "emulated"),
                         [](const auto& test) { return test.param; });

TEST(Sizes, each_epoch_is_evaluated_at_its_own_and_the_range_test_sees_the_first) {
    const TrainOptions options = progressive("cpu");
    std::vector<Evaluation> seen;
    std::vector<int> sizes;
    Learner* used = nullptr;
    Learner learner(tiny_dataset(), options,
                    {.on_step = [&](const StepReport& report) { sizes.push_back(report.size); },
                     .on_epoch = [&](const EpochReport&) { seen.push_back(used->evaluate()); }});
    used = &learner;
    const FindOptions find{.start_lr = 1e-3, .end_lr = 1e-2, .steps = 2};
    EXPECT_EQ(learner.find(find).loss,
              Learner(tiny_dataset(), of_one_size(options, first_size)).find(find).loss);
    sizes.clear();
    const FitResult result = learner.fit();
    EXPECT_EQ(sizes, (std::vector<int>{32, 32, 48, 48}));
    ASSERT_EQ(seen.size(), 2u);
    for (std::size_t epoch = 0; epoch < 2; ++epoch)
        EXPECT_NEAR(seen[epoch].loss, result.epochs[epoch].valid_loss, 1e-9);
    // The last epoch's weights at either size: a file without names of sizes would not tell them
    // apart.
    const TemporaryFolder folder;
    learner.save(folder / "model.safetensors");
    const double at_second =
        Model(folder / "model.safetensors").evaluate(tiny_dataset().valid, tiny_dataset().classes).loss;
    EXPECT_NEAR(at_second, seen[1].loss, 1e-6);
    EXPECT_NE(Model(folder / "model.safetensors", {.size = first_size})
                  .evaluate(tiny_dataset().valid, tiny_dataset().classes)
                  .loss,
              at_second);
}

TEST(Sizes, a_file_says_the_size_that_its_weights_were_trained_for) {
    const TemporaryFolder folder;
    int left = 1;
    {
        Learner learner(tiny_dataset(), progressive("cpu"), {.stop = [&] { return left-- == 0 ? 2 : 0; }});
        RunFolder run = RunFolder::create(folder / "run");
        EXPECT_EQ(learner.fit({.run = &run}).step, 2);
        EXPECT_EQ(read_model_info(folder / "run").size, first_size) << "stopped before the second size";
    }
    const TrainOptions options =
        train_options_from_json(read_text(folder / "run/config.json"), "config.json");
    EXPECT_EQ(to_string(options.sizes), "32:1,48:1");
    EXPECT_EQ(options.size, second_size);
    Learner learner(tiny_dataset(), options);
    RunFolder run = RunFolder::open(folder / "run");
    const FitResult result = learner.fit({.run = &run});
    EXPECT_EQ(result.best_epoch, 1) << "accuracies at two sizes do not compare";
    EXPECT_EQ(read_model_info(folder / "run").size, second_size);
}

// Without random crops the device keeps the images as one size needs them.
TEST(Sizes, resumed_before_at_and_after_the_border_end_as_if_never_stopped_emulated) {
    const TemporaryFolder folder;
    TrainOptions options = progressive("emulated", AugmentPolicy::flip);
    options.checkpoint_every = 1;  // no step is launched ahead: each stop is where it is asked for
    RunFolder::create(folder / "run").write("config.json", to_json(resolved(options)));
    for (const std::int64_t stop_at : {1, 2, 3, 4}) {
        std::int64_t done = 0;
        Learner learner(tiny_dataset(), options,
                        {.on_step = [&](const StepReport& report) { done = report.step + 1; },
                         .stop = [&] { return stop_at < 4 && done == stop_at ? 2 : 0; }},
                        tiny_architecture());
        RunFolder run = RunFolder::open(folder / "run");
        const FitResult result = learner.fit({.run = &run});
        EXPECT_EQ(result.step, stop_at);
        EXPECT_EQ(result.epochs.size(), stop_at < 3   ? 0u
                                        : stop_at < 4 ? 1u
                                                      : 2u)
            << "stopped before its evaluation";
        if (stop_at == 4) {
            EXPECT_EQ(learner.state_digest(), digest_by_hand(options));
        }
    }
}

TEST(Sizes, leave_no_memory_of_the_first_behind_emulated) {
    const TrainOptions options = progressive("emulated", AugmentPolicy::flip);
    std::size_t expected = 0;
    {
        const LearnerCore core(tiny_dataset(), of_one_size(options, second_size), {}, tiny_architecture());
        expected = emulated::device_memory_in_use();
    }
    LearnerCore core(tiny_dataset(), options, {}, tiny_architecture());
    core.use(stages_of(core.options, core.network).back(), second_size);
    EXPECT_EQ(emulated::device_memory_in_use(), expected);
}

TEST(Sizes, of_fine_tuning_belong_to_its_last_stage_and_the_stage_before_sees_the_first) {
    TrainOptions options = progressive("cpu");
    options.freeze_epochs = 2;
    const int expected[] = {32, 32, 32, 48, 48};
    for (int epoch = 0; epoch < 5; ++epoch) EXPECT_EQ(size_of_epoch(options, epoch), expected[epoch]);
    EXPECT_EQ(size_of_epoch(of_one_size(options, 40), 1), 40);
}

// An epoch at 48 takes as long as 2.25 at 32.
TEST(Sizes, are_told_and_counted_in_what_remains) {
    Learner learner(tiny_dataset(), progressive("cpu"));
    std::string text;
    for (const std::string& line : learner.describe()) text += line + "\n";
    EXPECT_NE(text.find("1 epoch of 32 px, then 1 of 48 px"), std::string::npos) << text;
    LearnerCore core(tiny_dataset(), progressive("cpu"), {});
    EXPECT_EQ(epochs_left(core, 0), 3.25);
    EXPECT_EQ(epochs_left(core, 1), 2.25);
    core.use(stages_of(core.options, core.network).back(), second_size);
    EXPECT_EQ(epochs_left(core, 1), 1);
    EXPECT_EQ(epochs_left(core, 2), 0);
}

TEST(Sizes, that_cannot_be_are_refused_by_name) {
    for (const char* text : {"", "64", "64:", ":2", "64:2,", ",64:2", "64:2:3", "64:1.5", "a:b", "64:2;128:3",
                             "64 :2", "64:99999999999999999999"})
        EXPECT_THROW(parse_sizes(text), Error) << text;
    EXPECT_EQ(to_string(parse_sizes("64:2,128:3")), "64:2,128:3");
    const auto refused = [](std::vector<SizedEpochs> sizes, int size, std::int64_t epochs,
                            const std::string& part) {
        try {
            check({.size = size, .sizes = std::move(sizes), .epochs = epochs});
            ADD_FAILURE() << part;
        } catch (const Error& error) {
            EXPECT_EQ(error.exit_code(), 2);
            EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
        }
    };
    EXPECT_NO_THROW(check({.size = 128, .sizes = {{64, 2}, {128, 3}}, .epochs = 5}));
    refused({{64, 2}, {128, 3}}, 128, 6, "--sizes 64:2,128:3: its epochs sum to 5, --epochs is 6");
    refused({{64, 2}, {128, 3}}, 224, 5, "its last size is 128, --size is 224");
    refused({{31, 2}, {128, 3}}, 128, 5, "--sizes 31:2,128:3");
    refused({{64, 0}, {128, 5}}, 128, 5, "--sizes 64:0,128:5");
    refused({{64, 2}, {8192, 3}}, 8192, 5, "8192");
}

}  // namespace
}  // namespace onecycle
