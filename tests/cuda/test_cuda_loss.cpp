#include <limits>

#include "cuda/cuda.h"
#include "device/emulated/block.h"

namespace onecycle::testing {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

struct Options {
    float smoothing = 0;
    bool weights = false, gradient = true, pairs = false;
    DType type = DType::f32;
};

OpDesc cross_entropy(std::int64_t n, std::int64_t classes, const Options& options) {
    OpDesc d{.kind = OpKind::softmax_cross_entropy};
    d.label_smoothing = options.smoothing;
    d.class_weights = options.weights;
    d.gradient = options.gradient;
    d.label_pairs = options.pairs;
    d.inputs = {
        {n, classes}, TensorDesc({n}, Layout::plain, DType::i32), TensorDesc({1}, Layout::plain, DType::i32)};
    if (options.weights) d.inputs.push_back({classes});
    if (options.pairs) d.inputs.insert(d.inputs.end(), {d.inputs[1], {n}});
    d.outputs = {result_desc()};
    if (options.gradient) d.outputs.push_back(TensorDesc({n, classes}, Layout::any, options.type));
    return d;
}

std::vector<Values> inputs_of(const OpDesc& d, double count) {
    const auto n = static_cast<std::size_t>(d.inputs[0][0]),
               classes = static_cast<std::size_t>(d.inputs[0][1]);
    std::vector<Values> inputs = {random_values(d.inputs[0], 1), Values(n), {count}};
    for (double& x : inputs[0]) x *= 4;
    for (std::size_t i = 0; i < n; ++i) inputs[1][i] = static_cast<double>((i * 7 + 3) % classes);
    if (d.class_weights) {
        inputs.push_back(random_values(d.inputs[3], 2));
        for (double& w : inputs[3]) w = std::abs(w) + 0.5;
        inputs[3] = stored_as(DType::f32, inputs[3]);
    }
    if (d.label_pairs) {
        inputs.insert(inputs.end(), 2, Values(n));
        for (std::size_t i = 0; i < n; ++i) {
            (inputs.end() - 2)->at(i) = static_cast<double>((i * 5 + 1) % classes);
            inputs.back()[i] = static_cast<double>((i * 3 + 2) % 8) / 8;
        }
    }
    return inputs;
}

TEST(CudaCrossEntropy, agrees_with_the_reference_for_any_number_of_classes) {
    const Machine machine = emulated_machine();
    const std::int64_t sizes[][2] = {{1, 1},  {3, 2},   {7, 5},    {2, 31},
                                     {5, 33}, {3, 129}, {2, 1000}, {2, 4099}};
    for (const auto& [n, classes] : sizes)
        for (const float smoothing : {0.0f, 0.1f})
            for (const bool weights : {false, true})
                for (const double count : {static_cast<double>(n), static_cast<double>((n + 1) / 2)}) {
                    const OpDesc d = cross_entropy(n, classes, {smoothing, weights});
                    SCOPED_TRACE(to_string(d.inputs[0]));
                    expect_agrees(d, inputs_of(d, count), 4, machine);
                }
}

TEST(CudaCrossEntropy, agrees_with_the_reference_for_pairs_of_labels) {
    const Machine machine = emulated_machine();
    for (const auto& [n, classes] :
         {std::pair<std::int64_t, std::int64_t>{1, 2}, {9, 5}, {11, 33}, {5, 1000}})
        for (const float smoothing : {0.0f, 0.1f})
            for (const bool weights : {false, true})
                for (const DType type : float_types) {
                    const OpDesc d = cross_entropy(
                        n, classes,
                        {.smoothing = smoothing, .weights = weights, .pairs = true, .type = type});
                    SCOPED_TRACE(to_string(d.inputs[0]));
                    expect_agrees(d, inputs_of(d, static_cast<double>((n + 1) / 2)), 4, machine);
                }
    // With the loss scale's control before them.
    OpDesc d = cross_entropy(5, 40, {.pairs = true, .type = DType::f16});
    std::vector<Values> inputs = inputs_of(d, 5);
    const std::vector<Values> expected = reference(d, inputs);
    StepControl control{};
    control.loss_scale = 1024;
    const auto* bytes = reinterpret_cast<const unsigned char*>(&control);
    d.loss_scale = true;
    d.inputs.insert(d.inputs.begin() + 3, control_desc());
    inputs.insert(inputs.begin() + 3, Values(bytes, bytes + sizeof control));
    const Outcome out = run_op(d, inputs, machine);
    for (std::size_t k = 0; k < expected[1].size(); ++k)
        EXPECT_NEAR(out.outputs[1][k] / 1024, expected[1][k], std::abs(expected[1][k]) / 1024) << k;
}

TEST(CudaCrossEntropy, writes_the_gradient_in_every_type_or_none) {
    const Machine machine = emulated_machine();
    for (DType type : float_types) {
        const OpDesc d = cross_entropy(7, 11, {.smoothing = 0.1f, .type = type});
        expect_agrees(d, inputs_of(d, 5), 4, machine);
    }
    const OpDesc d = cross_entropy(7, 11, {.smoothing = 0.1f, .weights = true, .gradient = false});
    expect_agrees(d, inputs_of(d, 5), 4, machine);
}

TEST(CudaCrossEntropy, multiplies_the_gradient_by_the_loss_scale_before_it_is_rounded) {
    const Machine machine = emulated_machine();
    StepControl control{};
    control.loss_scale = 4096;
    Values bytes(sizeof control);
    for (std::size_t i = 0; i < sizeof control; ++i)
        bytes[i] = static_cast<double>(reinterpret_cast<const std::uint8_t*>(&control)[i]);
    for (const bool weights : {false, true}) {
        OpDesc d = cross_entropy(3, 40, {.weights = weights, .type = DType::f16});
        std::vector<Values> inputs = inputs_of(d, 3);
        inputs[0][0] = -12;  // its probability is below the smallest f16
        const std::vector<Values> expected = reference(d, inputs);
        d.loss_scale = true;
        d.inputs.push_back(TensorDesc({sizeof control}, Layout::plain, DType::u8));
        inputs.push_back(bytes);
        const Outcome outcome = run_op(d, inputs, machine);
        EXPECT_NEAR(outcome.outputs[0][0], expected[0][0], 1e-6);  // the loss is not scaled
        for (std::size_t k = 0; k < expected[1].size(); ++k)
            EXPECT_NEAR(outcome.outputs[1][k] / 4096, expected[1][k], std::abs(expected[1][k]) / 1024) << k;
    }
}

TEST(CudaCrossEntropy, stands_huge_logits_and_counts_ties_for_the_first_class) {
    const OpDesc d = cross_entropy(3, 6, {});
    const Values x = {1e30, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2};
    const Outcome out = run_op(d, {x, {0, 0, 5}, {3}}, emulated_machine());
    EXPECT_NEAR(out.outputs[0][0], 2 * std::log(6) / 3, 1e-7);
    EXPECT_EQ(out.outputs[0][4], 2);  // the first of equal classes is the prediction
    EXPECT_EQ(out.outputs[0][5], 2);  // and the sixth is not among the first five
    EXPECT_EQ(out.outputs[1][0], 0);
}

TEST(CudaCrossEntropy, keeps_the_digits_of_a_small_loss) {
    const OpDesc d = cross_entropy(1, 2, {.gradient = false});
    const Outcome out = run_op(d, {{20, 0}, {0}, {1}}, emulated_machine());
    EXPECT_NEAR(out.outputs[0][0] / std::log1p(std::exp(-20)), 1, 1e-6);
}

TEST(CudaCrossEntropy, treats_values_that_are_not_finite_as_the_cpu_does) {
    const Machine machine = emulated_machine();
    const OpDesc d = cross_entropy(1, 7, {});
    for (const double bad : {nan, infinity, -infinity})
        for (const std::size_t at : {0u, 3u, 6u})
            for (const double label : {0.0, 3.0}) {
                Values x = {1, 2, 3, 4, 3, 2, 1};
                x[at] = bad;
                const Outcome out = run_op(d, {x, {label}, {1}}, machine), cpu = run_op(d, {x, {label}, {1}});
                EXPECT_EQ(std::isnan(out.outputs[0][0]), std::isnan(cpu.outputs[0][0]));
                EXPECT_EQ(std::isinf(out.outputs[0][0]), std::isinf(cpu.outputs[0][0]));
                EXPECT_EQ(out.outputs[0][4], cpu.outputs[0][4]) << bad << " at " << at;
                EXPECT_EQ(out.outputs[0][5], cpu.outputs[0][5]) << bad << " at " << at;
                for (std::size_t k = 0; k < 7; ++k)
                    EXPECT_EQ(std::isnan(out.outputs[1][k]), std::isnan(cpu.outputs[1][k]));
            }
}

TEST(CudaCrossEntropy, finds_no_loss_in_no_samples) {
    const OpDesc d = cross_entropy(3, 5, {});
    const Outcome out = run_op(d, inputs_of(d, 0), emulated_machine());
    EXPECT_TRUE(std::isnan(out.outputs[0][0]));
    EXPECT_EQ(out.outputs[0][3], 0);
    EXPECT_EQ(out.outputs[1], Values(15, 0.0));
}

TEST(CudaCrossEntropy, gives_equal_bits_in_any_order_of_blocks) {
    const OpDesc d = cross_entropy(9, 150, {.smoothing = 0.1f, .weights = true});
    const std::vector<Values> inputs = inputs_of(d, 8);
    const Outcome first = run_op(d, inputs, emulated_machine());
    for (std::uint64_t seed : {0u, 2u, 3u}) {
        emulated::set_schedule_seed(seed);
        EXPECT_EQ(run_op(d, inputs, emulated_machine()).outputs, first.outputs);
    }
    emulated::set_schedule_seed(1);
}

TEST(CudaSoftmax, agrees_with_the_reference) {
    const Machine machine = emulated_machine();
    for (const std::int64_t classes : {1, 7, 32, 130, 2000}) {
        const TensorDesc x{5, classes};
        const OpDesc d{.kind = OpKind::softmax, .inputs = {x}, .outputs = {x}};
        expect_agrees(d, {random_values(x, 3)}, 4, machine);
    }
}

}  // namespace

}  // namespace onecycle::testing
