// Fine-tuning: its stages against fastai's fine_tune run for real
// (tests/reference/generate_fine_tune.py), and what a run of it promises.
#include <gtest/gtest.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "formats/readers.h"
#include "nn/expect_change.h"
#include "nn/network_of.h"
#include "nn/training.h"
#include "onecycle/error.h"
#include "onecycle/model.h"
#include "onecycle/tensor_file.h"
#include "train/stages.h"
#include "train/tiny.h"
#include "train/train_step.h"

namespace onecycle {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::expect_change;
using testing::read_text;
using testing::TemporaryFolder;
using testing::tiny_dataset;
using testing::tiny_options;

const json& cases() {
    static const json all = json::parse(std::ifstream(std::string(ONECYCLE_TEST_DATA) + "/fine_tune.json"));
    return all;
}

// What the verb's defaults are.
TrainOptions fine_tuned(TrainOptions options) {
    options.head = Head::fastai;
    options.optimizer = OptimizerKind::adamw;
    options.policy = "fine-tune";
    options.freeze_epochs = 1;
    options.lr_mult = 100;
    return options;
}

std::vector<Stage> stages_for(const TrainOptions& options) {
    return stages_of(options, architecture(options.arch).make(network_options(options, 2, options.size)));
}

TrainOptions options_of(const json& reference) {
    TrainOptions options = fine_tuned({.arch = "resnet18"});
    options.freeze_epochs = reference.at("freeze_epochs");
    options.epochs = reference.at("epochs");
    options.max_lr = reference.at("base_lr").get<double>();
    options.lr_mult = reference.at("lr_mult");
    options.freeze_bn = reference.at("freeze_bn");
    return resolved(options);
}

Schedule schedule_of(const Stage& stage, double max_lr, std::int64_t steps_per_epoch) {
    return make_schedule(stage.policy, {stage.epochs, steps_per_epoch}, max_lr * stage.rate);
}

TEST(FineTune, rates_and_momenta_of_every_group_at_every_step_are_fastais) {
    for (const json& reference : cases()) {
        const TrainOptions options = options_of(reference);
        std::size_t row = 0;
        for (const Stage& stage : stages_for(options)) {
            const std::int64_t steps_per_epoch = reference.at("steps_per_epoch");
            const Schedule schedule = schedule_of(stage, *options.max_lr, steps_per_epoch);
            for (std::int64_t k = 0; k < stage.epochs * steps_per_epoch; ++k, ++row) {
                const ScheduleValue now = evaluate(schedule, k);
                for (std::size_t g = 0; g < 3; ++g) {
                    const double lr = reference.at("lr")[row][g];
                    EXPECT_NEAR(now.lr * stage.group_rates[g], lr, 1e-9 * lr)
                        << "step " << row << " group " << g;
                    EXPECT_NEAR(now.momentum, reference.at("momentum")[row][g].get<double>(), 1e-9)
                        << "step " << row;
                }
            }
        }
        EXPECT_EQ(row, reference.at("lr").size());
    }
}

// The same network, batches and stages, without dropout.
void expect_fastais_training(const json& reference, testing::Machine machine) {
    const TrainOptions options = options_of(reference);
    const std::int64_t steps_per_epoch = reference.at("steps_per_epoch");
    const int batch = reference.at("batch"), size = reference.at("size"), classes = reference.at("classes");
    const Network network = network_of(
        {.arch = "resnet18", .classes = classes, .size = size, .head = Head::fastai, .dropout = 0});
    const StateLayout layout(network, *machine.backend, false);
    State state(*machine.device, network, layout, optimizer_options(options));
    state.initialise(0);
    std::map<std::string, HostTensor> weights = state.weights();
    for (auto& [name, tensor] : weights)
        tensor.values = reference::parameter(name, tensor.shape, reference.at("norm_bias"));
    state.set_weights(weights);

    std::int64_t step = 0;
    std::size_t stage_number = 0;
    for (const Stage& stage : stages_for(options)) {
        ProgramKey key = testing::training_key(batch, optimizer_options(options));
        key.mean = reference::mean;
        key.stddev = reference::stddev;
        key.frozen = stage.frozen;
        key.group_rates = stage.group_rates;
        Program program = compile(network, layout, *machine.backend, key);
        DeviceMemory arena(*machine.device, program.arena_bytes);
        Runnable runnable(program, state, arena);
        const std::int64_t last = step + stage.epochs * steps_per_epoch;
        clear_moments(state);
        begin_updates(state, schedule_of(stage, *options.max_lr, steps_per_epoch), step, last, step);
        const auto before = state.weights();
        for (; step < last; ++step) {
            const std::string number = std::to_string(step % steps_per_epoch);
            const auto n = static_cast<std::size_t>(batch);
            const auto pixels = reference::images("images." + number, n, static_cast<std::size_t>(size));
            const auto labels = reference::labels("labels." + number, n, static_cast<std::uint32_t>(classes));
            runnable.set_batch(pixels.data(), labels.data(), batch);
            runnable.launch();
            machine.device->synchronize();
            const auto row = static_cast<std::size_t>(step);
            EXPECT_NEAR(state.ring_entry(step).loss, reference.at("loss")[row].get<double>(),
                        reference.at("loss_tolerance")[row].get<double>())
                << "step " << step;
        }
        const auto after = state.weights();
        const json& expected = reference.at("stages")[stage_number++];
        for (const std::string name : expected.at("equal"))
            EXPECT_EQ(after.at(name).values, before.at(name).values) << name << " is frozen";
        expect_change(expected.at("change"), before, after);
    }
}

TEST(FineTune, losses_and_what_moves_in_each_stage_are_fastais) {
    for (const json& reference : cases()) expect_fastais_training(reference, testing::cpu_machine());
}

TEST(FineTune, stages_follow_the_options) {
    TrainOptions options = resolved(fine_tuned({}));
    std::vector<Stage> stages = stages_for(options);
    ASSERT_EQ(stages.size(), 2u);
    EXPECT_EQ(stages[0].frozen, (Frozen{5, false}));
    EXPECT_EQ(stages[0].epochs, 1);
    EXPECT_EQ(stages[0].policy.pct_start, 0.99);
    EXPECT_EQ(stages[0].policy.div, 25);
    EXPECT_EQ(stages[1].frozen, Frozen{});
    EXPECT_EQ(stages[1].first_epoch, 1);
    EXPECT_EQ(stages[1].policy.pct_start, 0.3);
    EXPECT_EQ(stages[1].policy.div, 5);
    EXPECT_EQ(stages[1].policy.final_div, 1e5);
    EXPECT_EQ(all_epochs(options), 7);
    EXPECT_TRUE(options.retest_lr) << "the rate is searched for";
    options.max_lr = 1e-3;
    EXPECT_TRUE(resolved(options).retest_lr) << "as when a run is resumed with what was found";
    TrainOptions given = fine_tuned({});
    given.max_lr = 1e-3;
    EXPECT_FALSE(resolved(given).retest_lr);

    options = fine_tuned({});
    options.freeze = "layer2";
    options.freeze_bn = true;
    options.policy = "onecycle";
    stages = stages_for(resolved(options));
    EXPECT_EQ(stages[0].frozen, (Frozen{5, true}));
    EXPECT_EQ(stages[1].frozen, (Frozen{3, true}));
    for (const Stage& stage : stages)
        EXPECT_EQ(stage.policy.pct_start, 0.25) << "a policy that was asked for";

    EXPECT_EQ(stages_for(resolved({})).size(), 1u) << "train";
    EXPECT_TRUE(stages_for(resolved({})).front().group_rates.empty());
}

TEST(FineTune, refuses_what_cannot_be_frozen) {
    const auto refused = [](auto change) {
        TrainOptions options = fine_tuned({});
        change(options);
        EXPECT_THROW(check(options), Error);
    };
    refused([](TrainOptions& o) { o.freeze = "layer5"; });
    refused([](TrainOptions& o) { o.freeze = ""; });
    refused([](TrainOptions& o) { o.lr_mult = 0; });
    refused([](TrainOptions& o) { o.freeze_epochs = -1; });
    refused([](TrainOptions& o) { o.dropout = 1; });
    refused([](TrainOptions& o) { o.freeze_bn = true, o.freeze_epochs = 0; });
}

// --- runs ---

// 1 + 1 epochs of 3 steps, from the weights of another run.
TrainOptions tiny_fine_tune() {
    static const TemporaryFolder folder;
    static const std::string weights = [] {
        Learner learner(tiny_dataset(), tiny_options());
        const std::string path = folder / "weights.safetensors";
        learner.save(path);
        return path;
    }();
    TrainOptions options = fine_tuned(tiny_options());
    options.init = weights;
    options.epochs = 1;
    options.max_lr = 2e-3;
    return options;
}

std::vector<std::vector<double>> rows_of(const std::string& csv, std::string& header) {
    std::vector<std::vector<double>> rows;
    std::istringstream lines(csv);
    std::getline(lines, header);
    for (std::string line; std::getline(lines, line);) {
        std::vector<double> row;
        std::istringstream cells(line);
        for (std::string cell; std::getline(cells, cell, ',');) row.push_back(std::stod(cell));
        rows.push_back(row);
    }
    return rows;
}

TEST(FineTuneRun, writes_each_groups_rate_and_counts_its_steps_on) {
    const TemporaryFolder folder;
    Learner learner(tiny_dataset(), tiny_fine_tune());
    RunFolder run = RunFolder::create(folder / "run");
    const FitResult result = learner.fit({.run = &run});
    EXPECT_TRUE(result.finished());
    EXPECT_EQ(result.steps, 6);
    EXPECT_EQ(result.epochs.size(), 2u);
    std::string header;
    const auto rows = rows_of(read_text(folder / "run/steps.csv"), header);
    EXPECT_EQ(header, "step,lr,momentum,loss,lr_0,lr_1,lr_2");
    ASSERT_EQ(rows.size(), 6u);
    const std::vector<Stage> stages = stages_for(learner.options());
    for (std::size_t k = 0; k < 6; ++k) {
        const Stage& stage = stages[k / 3];
        const ScheduleValue now = evaluate(schedule_of(stage, 2e-3, 3), static_cast<std::int64_t>(k % 3));
        EXPECT_EQ(rows[k][0], static_cast<double>(k));
        EXPECT_EQ(rows[k][1], now.lr);
        EXPECT_EQ(rows[k][2], now.momentum);
        for (std::size_t g = 0; g < 3; ++g) EXPECT_EQ(rows[k][4 + g], now.lr * stage.group_rates[g]);
        EXPECT_EQ(rows[k][6], rows[k][1]) << "the head's";
    }
}

TEST(FineTuneRun, leaves_the_frozen_body_equal_to_the_bit_in_its_first_stage) {
    for (const bool freeze_bn : {false, true}) {
        const TemporaryFolder folder;
        TrainOptions options = tiny_fine_tune();
        options.freeze_bn = freeze_bn;
        Learner learner(tiny_dataset(), options);
        RunFolder run = RunFolder::create(folder / "run");
        learner.fit({.run = &run});
        const SafetensorsFile before(options.init),
            frozen(folder / "run/checkpoints/step-000003.safetensors"),
            after(folder / "run/checkpoints/step-000006.safetensors");
        int equal = 0;
        for (const TensorInfo& tensor : before.tensors()) {
            if (tensor.name.starts_with("fc.") || tensor.name.ends_with("num_batches_tracked")) continue;
            const bool norm = tensor.shape.size() == 1;
            const auto first = before.read_floats(tensor.name);
            EXPECT_EQ(frozen.read_floats(tensor.name) == first, freeze_bn || !norm) << tensor.name;
            EXPECT_NE(after.read_floats(tensor.name), frozen.read_floats(tensor.name)) << tensor.name;
            equal += !norm;
        }
        EXPECT_EQ(equal, 20);
    }
}

TEST(FineTuneRun, resumed_in_either_stage_and_between_them_is_bit_exact) {
    const TemporaryFolder folder;
    TrainOptions options = tiny_fine_tune();
    options.retest_lr = true;  // a range test before the second stage
    options.checkpoint_every = 1;
    options.freeze_bn = true;
    const std::string whole = folder / "whole";
    const auto copy_at = [&](const StepReport& report) {
        if (report.activity != StepReport::Activity::train) return;
        const std::string copy = folder / std::to_string(report.step);
        for (bool copied = false; !copied;) {  // a checkpoint being written may get its name meanwhile
            std::error_code changed;
            fs::remove_all(copy);
            fs::copy(whole, copy, fs::copy_options::recursive, changed);
            copied = !changed;
        }
    };
    int tests = 0;
    {
        Learner learner(tiny_dataset(), options,
                        {.on_step = copy_at, .on_range_test = [&](const RangeTestResult& test) {
                             EXPECT_EQ(test.stage, 1);
                             ++tests;
                         }});
        RunFolder run = RunFolder::create(whole);
        EXPECT_TRUE(learner.fit({.run = &run}).finished());
    }
    EXPECT_EQ(tests, 1);
    for (int step : {5, 4, 3, 2}) {
        SCOPED_TRACE("killed in step " + std::to_string(step));
        const std::string killed = folder / std::to_string(step);
        // As the program does it: with the options of config.json.
        Learner learner(tiny_dataset(),
                        train_options_from_json(read_text(killed + "/config.json"), "config.json"));
        RunFolder run = RunFolder::open(killed);
        EXPECT_TRUE(learner.fit({.run = &run}).finished());
        for (const char* file : {"/steps.csv", "/latest", "/best"})
            EXPECT_EQ(read_text(killed + file), read_text(whole + file)) << file;
        const std::string name = "/checkpoints/step-000006.safetensors";
        EXPECT_TRUE(read_text(killed + name) == read_text(whole + name)) << "the last checkpoint";
        fs::remove_all(killed);
    }
}

TEST(FineTuneRun, is_recognised_by_its_tensors_and_predicts_as_the_learner_does) {
    const TemporaryFolder folder;
    TrainOptions options = tiny_fine_tune();
    Learner learner(tiny_dataset(), options);
    const Evaluation expected = learner.evaluate();
    const std::string path = folder / "model.safetensors";
    learner.save(path);
    const ModelInfo info = read_model_info(path);
    EXPECT_EQ(info.head, Head::fastai);
    EXPECT_EQ(info.class_count, 3);
    Model model(path);
    EXPECT_NEAR(model.evaluate(tiny_dataset().valid, tiny_dataset().classes).loss, expected.loss, 1e-6);

    // Its head is kept for the same classes.
    options.init = path;
    Learner again(tiny_dataset(), options);
    EXPECT_EQ(again.state_digest(), learner.state_digest());
}

// A checkpoint is looked at while training goes on. What is found by then belongs to the update that
// it was saved after, and is told with that update's rate. Here the pixels are so large that Adam's
// second moment overflows, while weights and losses stay numbers.
TEST(FineTuneRun, what_a_checkpoint_of_the_first_stage_lacks_is_told_with_the_rate_of_that_stage) {
    const Architecture without_norms{.name = "plain", .build = [](const NetworkOptions& o) {
                                         Network net;
                                         net.begin_part("eye", 0);
                                         const int x = net.input(3, o.size, o.size);
                                         const int y = net.conv2d("conv", x, 8, 3, 2, 1);
                                         net.begin_part("head", 1);
                                         net.linear("fc", net.global_average_pool(y), o.classes);
                                         return net;
                                     }};
    const TemporaryFolder folder;
    TrainOptions options = tiny_options();
    options.optimizer = OptimizerKind::adam;
    options.stddev = {1e-23, 1e-23, 1e-23};
    options.freeze_epochs = options.epochs = 1;
    Learner learner(tiny_dataset(), options, {}, without_norms);
    RunFolder run = RunFolder::create(folder / "run");
    const std::vector<Stage> stages =
        stages_of(learner.options(), without_norms.make({.classes = 3, .size = learner.options().size}));
    char expected[100];
    std::snprintf(expected, sizeof expected,
                  "step 2: second_moment.fc.weight is not finite at the learning rate %.3g;",
                  evaluate(schedule_of(stages[0], *options.max_lr, 3), 2).lr);
    try {
        learner.fit({.run = &run});
        ADD_FAILURE() << "went on";
    } catch (const Error& error) {
        EXPECT_EQ(error.exit_code(), 6);
        EXPECT_NE(std::string(error.what()).find(expected), std::string::npos) << error.what();
    }
}

}  // namespace
}  // namespace onecycle
