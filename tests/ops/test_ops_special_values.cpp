// Values that tables of random numbers do not hit.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ops/max_pool_values.h"

namespace onecycle::testing {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

TEST(MaxPool, takes_the_first_maximum_and_lets_nan_win) {
    for (const std::int64_t channels : {1, 8, 16}) {
        const Layout layout = channels == 1   ? Layout::plain
                              : channels == 8 ? Layout::nChw8c
                                              : Layout::nChw16c;
        expect_first_maximum_and_nan_win(TensorDesc({1, channels, 2, 10}, layout),
                                         TensorDesc({1, channels, 1, 5}, layout), cpu_machine(2));
    }
}

TEST(Relu, keeps_nan) {
    const TensorDesc x{4};
    const Outcome outcome =
        run_op({.kind = OpKind::relu, .inputs = {x}, .outputs = {x}}, {{nan, -1, 2, -infinity}});
    EXPECT_TRUE(std::isnan(outcome.outputs[0][0]));
    EXPECT_EQ(outcome.outputs[0][1], 0);
    EXPECT_EQ(outcome.outputs[0][2], 2);
    EXPECT_EQ(outcome.outputs[0][3], 0);
}

// The mask that backward computes from x must be the one forward applied, bit for bit, or a
// gradient would pass where the output is 0.
TEST(BatchNorm, backward_finds_exactly_the_mask_of_forward) {
    const TensorDesc x({4, 16, 31, 33}, Layout::nChw16c), v{16};
    Values values(static_cast<std::size_t>(x.elements())), gamma(16), beta(16);
    for (std::size_t k = 0; k < values.size(); ++k) values[k] = std::sin(static_cast<double>(k * k % 10007));
    for (std::size_t c = 0; c < 16; ++c) gamma[c] = c % 2 ? 1.3 : -0.7;
    OpDesc forward{.kind = OpKind::batch_norm, .inputs = {x, v, v}, .outputs = {x, v, v}, .relu = true};
    Outcome out = run_op(forward, {values, gamma, beta});
    // Shift beta so that many outputs come out as close to zero as floats can.
    for (std::size_t c = 0; c < 16; ++c) {
        const double first = values[c * 31 * 33];
        beta[c] = static_cast<double>(static_cast<float>(-gamma[c] * (first - out.outputs[1][c]) /
                                                         std::sqrt(out.outputs[2][c] + 1e-5)));
    }
    out = run_op(forward, {values, gamma, beta});
    OpDesc backward{.kind = OpKind::batch_norm_backward, .relu = true};
    backward.inputs = {x, x, v, v, v, v};
    backward.outputs = {x, v, v};
    // With dy = 1 everywhere dbeta counts the positions that the mask lets through.
    const Values ones(values.size(), 1.0);
    const Outcome gradients = run_op(backward, {ones, values, out.outputs[1], out.outputs[2], gamma, beta});
    for (std::size_t c = 0; c < 16; ++c) {
        double open = 0;
        for (std::size_t n = 0; n < 4; ++n)
            for (std::size_t p = 0; p < 31 * 33; ++p) open += out.outputs[0][(n * 16 + c) * 31 * 33 + p] > 0;
        EXPECT_EQ(gradients.outputs[2][c], open) << c;
    }
}

TEST(BatchNorm, keeps_its_digits_when_the_mean_is_far_from_zero) {
    const TensorDesc x({8, 16, 16, 16}, Layout::nChw16c), v{16};
    Values values(static_cast<std::size_t>(x.elements()));
    for (std::size_t k = 0; k < values.size(); ++k) values[k] = 1000 + std::sin(static_cast<double>(k));
    for (double& value : values) value = static_cast<double>(static_cast<float>(value));
    const Outcome out = run_op({.kind = OpKind::batch_norm, .inputs = {x, v, v}, .outputs = {x, v, v}},
                               {values, Values(16, 1), Values(16, 0)});
    for (std::size_t c = 0; c < 16; ++c) {
        double mean = 0, variance = 0;
        const auto each = [&](auto f) {
            for (std::size_t n = 0; n < 8; ++n)
                for (std::size_t p = 0; p < 256; ++p) f(values[(n * 16 + c) * 256 + p]);
        };
        each([&](double value) { mean += value / 2048; });
        each([&](double value) { variance += (value - mean) * (value - mean) / 2048; });
        EXPECT_NEAR(out.outputs[2][c] / variance, 1, 1e-5);
    }
}

TEST(CrossEntropy, stands_huge_logits_and_counts_ties_for_the_first_class) {
    OpDesc d{.kind = OpKind::softmax_cross_entropy, .gradient = true};
    const TensorDesc logits{3, 6};
    d.inputs = {logits, TensorDesc({3}, Layout::plain, DType::i32),
                TensorDesc({1}, Layout::plain, DType::i32)};
    d.outputs = {result_desc(), logits};
    const Values x = {1e30, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2};
    const Outcome out = run_op(d, {x, {0, 0, 5}, {3}});
    EXPECT_NEAR(out.outputs[0][0], 2 * std::log(6) / 3, 1e-12);
    EXPECT_EQ(out.outputs[0][4], 2);  // the first of equal classes is the prediction
    EXPECT_EQ(out.outputs[0][5], 2);  // and the sixth is not among the first five
    EXPECT_EQ(out.outputs[1][0], 0);
}

}  // namespace

}  // namespace onecycle::testing
