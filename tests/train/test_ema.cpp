// The moving average of --ema, held against one in double precision.
#include <gtest/gtest.h>

#include <cmath>

#include "rules/half.h"
#include "train/learner_core.h"
#include "train/tiny.h"

namespace onecycle {
namespace {

using testing::tiny_dataset;
using testing::tiny_options;

constexpr double decay = 0.9;

std::map<std::string, std::vector<double>> in_double(const std::map<std::string, HostTensor>& tensors) {
    std::map<std::string, std::vector<double>> values;
    for (const auto& [name, tensor] : tensors)
        values[name].assign(tensor.values.begin(), tensor.values.end());
    return values;
}

// What 16-bit programs read: the average, rounded, where they read 16 bits.
void expect_rounded_copies(const State& state) {
    const std::size_t bytes = state.bytes(Space::half_ema);
    std::vector<bf16> copies(bytes / sizeof(bf16));
    std::vector<float> ema(copies.size());
    state.device().copy_out(copies.data(), state.base(Space::half_ema), bytes);
    state.device().copy_out(ema.data(), state.base(Space::ema), ema.size() * sizeof(float));
    for (const ParameterSegment& s : state.layout().parameters)
        for (std::int64_t i = s.offset; i < s.offset + s.elements && s.half; ++i) {
            const auto k = static_cast<std::size_t>(i);
            ASSERT_EQ(copies[k].bits, from_float<bf16>(ema[k]).bits) << k;
        }
}

class Ema : public ::testing::TestWithParam<const char*> {};

TEST_P(Ema, follows_weights_and_statistics_for_ten_updates_and_evaluations_read_it) {
    TrainOptions options = tiny_options();
    options.device = GetParam();
    options.batch_size = 4;
    options.ema = decay;
    LearnerCore core(tiny_dataset(), options, {});
    auto expected = in_double(core.state.weights());
    begin_updates(core.state, make_schedule(policy_options(core.options), {core.options.epochs, 5}, 0.02), 0,
                  10);
    ASSERT_EQ(core.start_batches(core.step, core.train_loader(), 0, 10), 0);
    for (std::int64_t update = 1; update <= 10; ++update) {
        run_updates(core.state, core.step, core.train_loader(), update,
                    [](const RingEntry&) { return true; });
        for (auto& [name, now] : in_double(core.state.weights()))
            for (std::size_t k = 0; k < now.size(); ++k)
                expected[name][k] = decay * expected[name][k] + (1 - decay) * now[k];
    }
    const auto ema = core.state.weights(true), weights = core.state.weights();
    for (const auto& [name, tensor] : ema) {
        double largest = 0;
        for (const double x : expected[name]) largest = std::max(largest, std::abs(x));
        for (std::size_t k = 0; k < tensor.values.size(); ++k)
            ASSERT_NEAR(static_cast<double>(tensor.values[k]), expected[name][k], 2e-6 * largest)
                << name << ' ' << k;
        EXPECT_NE(tensor.values, weights.at(name).values) << name;
    }
    if (core.engine.compute == DType::bf16) expect_rounded_copies(core.state);

    // What is evaluated is what a training with these for its weights would evaluate.
    const double loss = core.evaluator.totals(core.valid_loader(), {}).loss;
    options.ema = 0;
    LearnerCore plain(tiny_dataset(), options, {});
    plain.state.set_weights(ema);
    EXPECT_EQ(plain.evaluator.totals(plain.valid_loader(), {}).loss, loss);
    plain.state.set_weights(weights);
    EXPECT_NE(plain.evaluator.totals(plain.valid_loader(), {}).loss, loss);
}

INSTANTIATE_TEST_SUITE_P(Devices, Ema, ::testing::Values("cpu", "emulated"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace onecycle
