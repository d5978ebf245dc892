// Every operation of the back end against the double reference, over the whole table of cases.
#include <gtest/gtest.h>

#include <cmath>

#include "ops/cases.h"
#include "ops/reference.h"

namespace onecycle::testing {

namespace {

// Inputs are below 1 and sums have at most a few thousand terms: a float's relative rounding of
// 6e-8 grows to about 1e-6 of the largest value; ten times that would be a bug.
constexpr double relative_tolerance = 1e-5;

double largest(const Values& values) {
    double most = 1;
    for (double v : values) most = std::max(most, std::abs(v));
    return most;
}

void expect_close(const Values& got, const Values& expected, double tolerance, const std::string& what) {
    ASSERT_EQ(got.size(), expected.size()) << what;
    const double allowed = tolerance * largest(expected);
    for (std::size_t k = 0; k < got.size(); ++k)
        if (!(std::abs(got[k] - expected[k]) <= allowed)) {
            ADD_FAILURE() << what << " element " << k << ": " << got[k] << " instead of " << expected[k];
            return;
        }
}

bool calls_onednn(OpKind kind) {
    return kind == OpKind::conv2d || kind == OpKind::conv2d_backward_data ||
           kind == OpKind::conv2d_backward_weights;
}

class EveryOp : public ::testing::TestWithParam<Case> {};

TEST_P(EveryOp, agrees_with_the_reference_and_keeps_within_its_memory) {
    const Case& test = GetParam();
    const auto inputs = inputs_for(test, false);
    const Outcome outcome = run_op(test.desc, inputs);
    const auto expected = reference(test.desc, inputs);
    ASSERT_EQ(outcome.outputs.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
        expect_close(outcome.outputs[i], expected[i], relative_tolerance, "output " + std::to_string(i));
    EXPECT_TRUE(outcome.redzones_intact);
    EXPECT_TRUE(outcome.repeats);
    for (const TensorDesc& t : outcome.desc.outputs) EXPECT_NE(t.layout, Layout::any);
    // oneDNN keeps a small table of arguments for each call; our own code allocates nothing.
    if (calls_onednn(test.desc.kind))
        EXPECT_LE(outcome.allocations.bytes, 64u * 1024);
    else
        EXPECT_EQ(outcome.allocations.count, 0u);
}

TEST_P(EveryOp, is_exact_on_small_integers) {
    const Case& test = GetParam();
    if (!test.exact) GTEST_SKIP() << "its results are no integers";
    const auto inputs = inputs_for(test, true);
    const auto expected = reference(test.desc, inputs);
    const Outcome outcome = run_op(test.desc, inputs);
    for (std::size_t i = 0; i < expected.size(); ++i)
        expect_close(outcome.outputs[i], expected[i], 0, "output " + std::to_string(i));
}

TEST_P(EveryOp, gives_equal_bits_for_1_2_4_and_8_threads) {
    const Case& test = GetParam();
    const auto inputs = inputs_for(test, false);
    const Outcome one = run_op(test.desc, inputs, 1);
    for (int threads : {2, 4, 8}) {
        const Outcome more = run_op(test.desc, inputs, threads);
        for (std::size_t i = 0; i < one.outputs.size(); ++i)
            EXPECT_EQ(more.outputs[i], one.outputs[i]) << threads << " threads, output " << i;
    }
}

INSTANTIATE_TEST_SUITE_P(Table, EveryOp, ::testing::ValuesIn(all_cases()),
                         [](const auto& param) { return param.param.name; });

}  // namespace

}  // namespace onecycle::testing
