// Training on emulated CUDA, where work runs late on purpose: what the host launches, when it
// waits, and that a training is the same whatever the device does with its time.
#include <gtest/gtest.h>

#include <algorithm>

#include "onecycle/range_test.h"
#include "rules/blow_up.h"
#include "train/learner_core.h"
#include "train/tiny.h"

namespace onecycle {
namespace {

using testing::read_text;
using testing::TemporaryFolder;
using testing::tiny_architecture;
using testing::tiny_dataset;
using testing::tiny_options;

TrainOptions emulated(const std::string& precision) {
    TrainOptions options = tiny_options();
    options.device = "emulated";
    options.input = "stream";
    options.precision = precision;
    return options;
}

Schedule rising_rates(std::int64_t steps, double lr) {
    return make_range_test_schedule({.start_lr = lr, .end_lr = 10 * lr, .steps = steps});
}

// A learner's parts, and updates from its loader without what stands around them.
struct Bare {
    explicit Bare(const TrainOptions& options) : core(tiny_dataset(), options, {}, tiny_architecture()) {}

    void begin(std::int64_t steps, float loss_scale = 0, double lr = 1e-3) {
        begin_updates(core.state, rising_rates(steps, lr), 0, steps);
        if (loss_scale > 0) {
            StepControl control = core.state.read_control();
            control.loss_scale = loss_scale;
            core.state.write_control(control);
        }
        core.train_loader().start(0, steps * core.options.accumulate);
    }
    LoopEnd run(std::int64_t last) {
        return run_updates(core.state, core.step, core.train_loader(), last, [&](const RingEntry& entry) {
            EXPECT_EQ(entry.update, static_cast<std::int64_t>(losses.size()));
            losses.push_back(entry.loss);
            return !stop_at_once;
        });
    }

    // Calls since the last question, those that were made.
    RuntimeCalls calls() {
        RuntimeCalls now = core.engine.device->runtime_calls(), made;
        made.blocking = now.blocking - before.blocking;
        for (const auto& [name, count] : now.of) {
            const auto earlier = before.of.find(name);
            const std::uint64_t more = count - (earlier == before.of.end() ? 0 : earlier->second);
            if (more) made.of[name] = more;
        }
        before = std::move(now);
        return made;
    }

    LearnerCore core;
    std::vector<double> losses;
    bool stop_at_once = false;
    RuntimeCalls before;
};

TEST(StepsWithoutWaits, a_step_fed_by_the_host_is_one_launch_and_one_copy_and_the_loop_waits_once) {
    Bare bare(emulated("bf16"));
    constexpr std::int64_t steps = 7;  // more than there are slots
    bare.begin(steps);
    bare.calls();
    const LoopEnd end = bare.run(steps);
    EXPECT_EQ(end.update, steps);
    EXPECT_EQ(end.stop, 0);
    EXPECT_EQ(bare.losses.size(), std::size_t{steps});
    RuntimeCalls calls = bare.calls();
    EXPECT_EQ(calls.blocking, 1u) << "the wait at the end";
    const std::uint64_t queries = calls.of["cudaStreamQuery"];
    calls.of.erase("cudaStreamQuery");  // asked while it waits for a slot or for the second to pass
    calls.of.erase("cudaGetLastError");
    EXPECT_EQ(calls.of, (std::map<std::string, std::uint64_t>{{"cudaGraphLaunch", steps},
                                                              {"cudaSetDevice", 2 * steps + queries + 1},
                                                              {"cudaMemcpyAsync", steps},
                                                              {"cudaEventRecord", steps},
                                                              {"cudaStreamWaitEvent", steps},
                                                              {"cudaStreamSynchronize", 1}}));
}

TEST(StepsWithoutWaits, every_update_reads_its_own_batch_also_with_accumulation) {
    for (int accumulate : {1, 3}) {
        TrainOptions options = emulated("fp32");
        options.batch_size = 4;
        options.accumulate = accumulate;
        options.device = "cpu";
        Bare cpu(options);
        options.device = "emulated";
        Bare late(options);
        const std::int64_t steps = accumulate == 1 ? 6 : 4;  // more than there are slots
        for (Bare* bare : {&cpu, &late}) {
            bare->begin(steps, 0, 1e-9);        // weights stay: each loss is its batch's alone
            EXPECT_EQ(bare->run(2).update, 2);  // as up to a checkpoint, then on
            EXPECT_EQ(bare->run(steps).update, steps);
        }
        ASSERT_EQ(late.losses.size(), cpu.losses.size());
        for (std::size_t k = 0; k < cpu.losses.size(); ++k)
            EXPECT_NEAR(late.losses[k], cpu.losses[k], 1e-4) << "update " << k;
        std::sort(cpu.losses.begin(), cpu.losses.end());
        for (std::size_t k = 1; k < cpu.losses.size(); ++k)
            EXPECT_GT(cpu.losses[k] - cpu.losses[k - 1], 2e-4) << "no two batches have the same loss";
    }
}

TEST(StepsWithoutWaits, an_overflow_repeats_its_batch_at_a_lower_scale_and_takes_nothing_of_the_schedule) {
    for (int accumulate : {1, 2}) {
        const std::int64_t steps = accumulate == 1 ? 5 : 3;
        TrainOptions options = emulated("fp16");
        options.batch_size = 8 / accumulate;
        options.accumulate = accumulate;
        const auto times = [&](std::int64_t updates) {
            return static_cast<std::uint64_t>(updates * accumulate);
        };
        Bare high(options);
        high.begin(steps, largest_loss_scale);
        high.calls();
        EXPECT_EQ(high.run(steps).update, steps);
        const RuntimeCalls calls = high.calls();
        const float scale = high.core.state.read_control().loss_scale;
        std::int64_t refused = 0;
        for (float s = scale; s < largest_loss_scale; s *= 2) ++refused;
        EXPECT_GE(refused, 2) << "gradients of 16 million overflow";
        EXPECT_EQ(calls.of.at("cudaGraphLaunch"), times(steps + refused))
            << "again for each that was refused";
        EXPECT_EQ(calls.of.at("cudaMemcpyAsync"), times(steps)) << "a batch travels once";
        EXPECT_EQ(calls.blocking, 1u);

        Bare right(options);
        right.begin(steps, scale);
        right.run(steps);
        EXPECT_EQ(high.losses, right.losses);
        EXPECT_EQ(high.core.state.digest(), right.core.state.digest())
            << "as if the scale had been right at once";
    }
}

TEST(StepsWithoutWaits, runs_are_equal_in_every_order_of_the_device) {
    std::string expected;
    for (int run = 0; run < 2; ++run) {  // each launch in a new random order
        Learner learner(tiny_dataset(), emulated("bf16"), {}, tiny_architecture());
        learner.fit();
        if (expected.empty()) expected = learner.state_digest();
        EXPECT_EQ(learner.state_digest(), expected);
    }
}

TEST(StepsWithoutWaits, a_stop_ends_after_what_is_under_way) {
    Bare bare(emulated("bf16"));
    constexpr std::int64_t steps = 50;
    bare.stop_at_once = true;
    bare.begin(steps);
    bare.calls();
    const LoopEnd end = bare.run(steps);
    EXPECT_LE(end.update, 4) << "no more than there are slots";
    EXPECT_EQ(end.update, static_cast<std::int64_t>(bare.losses.size())) << "every update is reported";
    EXPECT_EQ(bare.calls().of.at("cudaGraphLaunch"), static_cast<std::uint64_t>(end.update));
    bare.core.train_loader().stop();
}

TEST(StepsWithoutWaits, a_resumed_run_ends_with_the_same_bytes) {
    const TemporaryFolder folder;
    TrainOptions options = emulated("fp16");
    options.checkpoint_every = 2;
    const std::string whole = folder / "whole", killed = folder / "killed";
    {
        Learner learner(tiny_dataset(), options,
                        {.on_step =
                             [&](const StepReport& report) {
                                 if (report.step != 2) return;  // in mid-epoch, after the first checkpoint
                                 std::filesystem::copy(whole, killed,
                                                       std::filesystem::copy_options::recursive);
                             }},
                        tiny_architecture());
        RunFolder run = RunFolder::create(whole);
        EXPECT_TRUE(learner.fit({.run = &run}).finished());
    }
    Learner learner(tiny_dataset(), options, {}, tiny_architecture());
    RunFolder run = RunFolder::open(killed);
    EXPECT_TRUE(learner.fit({.run = &run}).finished());
    for (const char* file : {"/steps.csv", "/checkpoints/step-000006.safetensors"})
        EXPECT_TRUE(read_text(killed + file) == read_text(whole + file)) << file;
}

// --- the range test ---

TEST(RangeTestWithoutWaits, leaves_no_trace_and_waits_as_often_for_many_steps_as_for_few) {
    Learner learner(tiny_dataset(), emulated("fp32"), {}, tiny_architecture());
    Bare counter(emulated("fp32"));  // the calls of this process
    const std::string before = learner.state_digest();
    std::uint64_t waits = 0;
    std::vector<double> first;
    for (std::int64_t steps : {3, 10, 3}) {
        counter.calls();
        const RangeTestResult test = learner.find({.start_lr = 1e-5, .end_lr = 0.1, .steps = steps});
        const RuntimeCalls calls = counter.calls();
        EXPECT_EQ(test.stopped, RangeTestStop::end);
        EXPECT_EQ(calls.of.at("cudaGraphLaunch"), static_cast<std::uint64_t>(steps));
        if (waits == 0) {
            waits = calls.blocking;
            first = test.loss;
        }
        EXPECT_EQ(calls.blocking, waits) << steps << " steps";
        EXPECT_EQ(learner.state_digest(), before);
        EXPECT_EQ(test.digest_after, before);
        if (steps == 3) {
            EXPECT_EQ(test.loss, first);
        }
    }
}

TEST(RangeTestWithoutWaits, the_device_stops_at_the_loss_that_has_left_and_no_update_follows) {
    for (const char* device : {"cpu", "emulated"}) {
        TrainOptions options = emulated("fp32");
        options.device = device;
        Learner learner(tiny_dataset(), options, {}, tiny_architecture());
        const std::string before = learner.state_digest();
        const RangeTestResult test = learner.find({.start_lr = 1e-3, .end_lr = 1e4, .steps = 40});
        ASSERT_EQ(test.stopped, RangeTestStop::blow_up) << device;
        ASSERT_LT(test.loss.size(), 40u);
        BlowUpDetector detector;
        for (std::size_t k = 0; k < test.loss.size(); ++k)
            EXPECT_EQ(detector.add(test.loss[k]), k + 1 == test.loss.size()) << device << " row " << k;
        EXPECT_EQ(learner.state_digest(), before);
    }
}

}  // namespace
}  // namespace onecycle
