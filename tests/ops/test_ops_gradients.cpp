// The backward formulas of the reference against finite differences of its forward formulas, in
// double. The back ends are compared with the reference elsewhere: together both are gradient
// checks of every operation.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "ops/reference.h"
#include "rules/rng.h"

namespace onecycle::testing {

namespace {

Values random_values(const TensorDesc& t, std::uint64_t index) {
    RandomStream random(5, RandomPurpose::demo_data, 0, index);
    Values values(static_cast<std::size_t>(t.elements()));
    for (double& v : values) v = random.uniform(-1, 1);
    return values;
}

double dot(const Values& a, const Values& b) {
    double sum = 0;
    for (std::size_t k = 0; k < a.size(); ++k) sum += a[k] * b[k];
    return sum;
}

// d scalar / d values against `gradient`, at every element.
void expect_gradient(Values& values, const std::function<double()>& scalar, const Values& gradient) {
    ASSERT_EQ(values.size(), gradient.size());
    const double h = 1e-5;  // truncation and rounding both stay near 1e-10
    for (std::size_t k = 0; k < values.size(); ++k) {
        const double before = values[k];
        values[k] = before + h;
        const double above = scalar();
        values[k] = before - h;
        const double below = scalar();
        values[k] = before;
        ASSERT_NEAR((above - below) / (2 * h), gradient[k], 1e-7 * std::max(1.0, std::abs(gradient[k])))
            << "element " << k;
    }
}

// A forward operation with random inputs and a random gradient for its first output.
struct Forward {
    OpDesc desc;
    std::vector<Values> inputs;
    Values dy;

    explicit Forward(const OpDesc& d) : desc(d) {
        for (const TensorDesc& t : d.inputs) inputs.push_back(random_values(t, inputs.size()));
        dy = random_values(d.outputs[0], 99);
    }
    std::vector<Values> outputs() const { return reference(desc, inputs); }
    std::function<double()> scalar() {
        return [this] { return dot(outputs()[0], dy); };
    }
    // Runs a backward kind of the same window and flags.
    std::vector<Values> backward(OpKind kind, const std::vector<TensorDesc>& in,
                                 const std::vector<TensorDesc>& out,
                                 const std::vector<Values>& values) const {
        OpDesc d = desc;
        d.kind = kind;
        d.inputs = in;
        d.outputs = out;
        return reference(d, values);
    }
};

TEST(Gradients, of_convolutions_are_derivatives) {
    const TensorDesc x{2, 3, 5, 7}, w{4, 3, 3, 3}, y{2, 4, 3, 4};
    OpDesc d{.kind = OpKind::conv2d, .kernel = 3, .stride = 2, .padding = 1};
    d.inputs = {x, w};
    d.outputs = {y};
    Forward f(d);
    expect_gradient(f.inputs[0], f.scalar(),
                    f.backward(OpKind::conv2d_backward_data, {y, w}, {x}, {f.dy, f.inputs[1]})[0]);
    expect_gradient(f.inputs[1], f.scalar(),
                    f.backward(OpKind::conv2d_backward_weights, {y, x}, {w}, {f.dy, f.inputs[0]})[0]);
}

TEST(Gradients, of_batch_norm_are_derivatives_with_relu_and_residual) {
    const TensorDesc x{3, 2, 3, 5}, v{2};
    for (const bool relu : {false, true})
        for (const bool residual : {false, true}) {
            OpDesc d{.kind = OpKind::batch_norm, .relu = relu, .residual = residual};
            d.inputs = {x, v, v};
            if (residual) d.inputs.push_back(x);
            d.outputs = {x, v, v};
            Forward f(d);
            const auto out = f.outputs();
            // dy in two summands, as two readers of y would leave it.
            const Values half = random_values(x, 50);
            Values rest = f.dy;
            for (std::size_t k = 0; k < rest.size(); ++k) rest[k] -= half[k];
            f.desc.second_gradient = true;
            std::vector<Values> in = {half, f.inputs[0], out[1], out[2], f.inputs[1], f.inputs[2], rest};
            if (residual) in.push_back(out[0]);
            const auto gradients =
                f.backward(OpKind::batch_norm_backward, {x, x, v, v, v, v, x}, {x, v, v}, in);
            for (std::size_t i = 0; i < f.inputs.size(); ++i)
                expect_gradient(f.inputs[i], f.scalar(), gradients[i]);
        }
}

TEST(Gradients, of_pools_are_derivatives) {
    const TensorDesc x{2, 2, 5, 7}, y{2, 2, 3, 4};
    OpDesc d{.kind = OpKind::max_pool, .kernel = 3, .stride = 2, .padding = 1};
    d.inputs = {x};
    d.outputs = {y, y};
    Forward pool(d);
    expect_gradient(pool.inputs[0], pool.scalar(),
                    pool.backward(OpKind::max_pool_backward, {y, y}, {x}, {pool.dy, pool.outputs()[1]})[0]);

    Forward average({.kind = OpKind::global_average_pool, .inputs = {x}, .outputs = {{2, 2}}});
    expect_gradient(average.inputs[0], average.scalar(),
                    average.backward(OpKind::global_average_pool_backward, {{2, 2}}, {x}, {average.dy})[0]);
}

TEST(Gradients, of_what_fastais_head_is_made_of_are_derivatives) {
    const TensorDesc x{2, 3, 4, 5}, y{2, 6}, index({2, 3}, Layout::plain, DType::i32);
    Forward pool({.kind = OpKind::concat_pool, .inputs = {x}, .outputs = {y, index}});
    expect_gradient(
        pool.inputs[0], pool.scalar(),
        pool.backward(OpKind::concat_pool_backward, {y, index}, {x}, {pool.dy, pool.outputs()[1]})[0]);

    const TensorDesc f{5, 3}, v{3};
    Forward norm({.kind = OpKind::batch_norm, .inputs = {f, v, v}, .outputs = {f, v, v}});
    const auto out = norm.outputs();
    const auto gradients =
        norm.backward(OpKind::batch_norm_backward, {f, f, v, v, v, v}, {f, v, v},
                      {norm.dy, norm.inputs[0], out[1], out[2], norm.inputs[1], norm.inputs[2]});
    for (std::size_t i = 0; i < 3; ++i) expect_gradient(norm.inputs[i], norm.scalar(), gradients[i]);

    OpDesc d{.kind = OpKind::dropout, .inputs = {f, control_desc()}, .outputs = {f}};
    d.dropout = 0.5;
    Forward dropout(d);
    dropout.inputs[1] = control_values(3);
    expect_gradient(
        dropout.inputs[0], dropout.scalar(),
        dropout.backward(OpKind::dropout, d.inputs, d.outputs, {dropout.dy, dropout.inputs[1]})[0]);

    const TensorDesc w{4, 3}, z{5, 4};
    OpDesc no_bias{.kind = OpKind::linear, .inputs = {f, w}, .outputs = {z}};
    no_bias.bias = false;
    Forward linear(no_bias);
    expect_gradient(
        linear.inputs[1], linear.scalar(),
        linear.backward(OpKind::linear_backward_weights, {z, f}, {w}, {linear.dy, linear.inputs[0]})[0]);
}

TEST(Gradients, of_a_pair_of_batch_norms_are_derivatives) {
    const TensorDesc x{3, 2, 3, 5}, v{2};
    Forward f({.kind = OpKind::batch_norm_pair, .inputs = {x, v, v, x, v, v}, .outputs = {x, v, v, v, v}});
    const auto out = f.outputs();
    const auto gradients = f.backward(
        OpKind::batch_norm_pair_backward, {x, x, v, v, v, x, v, v, v, x}, {x, v, v, x, v, v},
        {f.dy, f.inputs[0], out[1], out[2], f.inputs[1], f.inputs[3], out[3], out[4], f.inputs[4], out[0]});
    for (std::size_t i = 0; i < f.inputs.size(); ++i) expect_gradient(f.inputs[i], f.scalar(), gradients[i]);
}

TEST(Gradients, of_batch_norm_with_a_max_pool_are_derivatives) {
    const TensorDesc x{2, 2, 5, 7}, y{2, 2, 3, 4}, v{2};
    OpDesc d{.kind = OpKind::batch_norm_max_pool, .kernel = 3, .stride = 2, .padding = 1};
    d.inputs = {x, v, v};
    d.outputs = {y, y, v, v};
    Forward f(d);
    const auto out = f.outputs();
    const auto gradients = f.backward(OpKind::batch_norm_max_pool_backward, {y, y, x, v, v, v, v}, {x, v, v},
                                      {f.dy, out[1], f.inputs[0], out[2], out[3], f.inputs[1], f.inputs[2]});
    for (std::size_t i = 0; i < f.inputs.size(); ++i) expect_gradient(f.inputs[i], f.scalar(), gradients[i]);
}

// Each fused kind is the kinds it stands for, one after the other.
TEST(FusedKinds, are_compositions_of_the_single_ones) {
    const TensorDesc x{3, 2, 5, 7}, y{3, 2, 3, 4}, v{2};
    const auto random = [](const TensorDesc& t, std::uint64_t i) { return random_values(t, 200 + i); };
    const Values a = random(x, 0), gamma = random(v, 1), beta = random(v, 2), b = random(x, 3),
                 gamma2 = random(v, 4), beta2 = random(v, 5), dy = random(x, 6), dy2 = random(x, 7);
    const auto expect_equal = [](const Values& got, const Values& expected) {
        ASSERT_EQ(got.size(), expected.size());
        for (std::size_t k = 0; k < got.size(); ++k) ASSERT_NEAR(got[k], expected[k], 1e-12) << k;
    };

    // y = relu(bn(a) + bn(b)): the second batch norm is the first one's residual.
    const OpDesc norm{.kind = OpKind::batch_norm, .inputs = {x, v, v}, .outputs = {x, v, v}};
    const auto second = reference(norm, {b, gamma2, beta2});
    OpDesc with_residual = norm;
    with_residual.relu = with_residual.residual = true;
    with_residual.inputs.push_back(x);
    const auto first = reference(with_residual, {a, gamma, beta, second[0]});
    const auto pair =
        reference({.kind = OpKind::batch_norm_pair, .inputs = {x, v, v, x, v, v}, .outputs = {x, v, v, v, v}},
                  {a, gamma, beta, b, gamma2, beta2});
    for (std::size_t i = 0; i < 3; ++i) expect_equal(pair[i], first[i]);
    for (std::size_t i = 1; i < 3; ++i) expect_equal(pair[2 + i], second[i]);

    OpDesc backward{.kind = OpKind::batch_norm_backward,
                    .inputs = {x, x, v, v, v, v, x, x},
                    .outputs = {x, v, v, x},
                    .relu = true,
                    .residual = true,
                    .second_gradient = true};
    const auto of_first = reference(backward, {dy, a, pair[1], pair[2], gamma, beta, dy2, pair[0]});
    const auto of_second =
        reference({.kind = OpKind::batch_norm_backward, .inputs = {x, x, v, v, v, v}, .outputs = {x, v, v}},
                  {of_first[3], b, pair[3], pair[4], gamma2, beta2});
    const auto of_pair =
        reference({.kind = OpKind::batch_norm_pair_backward,
                   .inputs = {x, x, v, v, v, x, v, v, v, x, x},
                   .outputs = {x, v, v, x, v, v},
                   .second_gradient = true},
                  {dy, a, pair[1], pair[2], gamma, b, pair[3], pair[4], gamma2, pair[0], dy2});
    for (std::size_t i = 0; i < 3; ++i) {
        expect_equal(of_pair[i], of_first[i]);
        expect_equal(of_pair[3 + i], of_second[i]);
    }
}

TEST(Gradients, of_relu_and_linear_are_derivatives) {
    const TensorDesc x{3, 5}, w{4, 5}, b{4}, y{3, 4};
    Forward relu({.kind = OpKind::relu, .inputs = {x}, .outputs = {x}});
    expect_gradient(relu.inputs[0], relu.scalar(),
                    relu.backward(OpKind::relu_backward, {x, x}, {x}, {relu.dy, relu.outputs()[0]})[0]);

    Forward linear({.kind = OpKind::linear, .inputs = {x, w, b}, .outputs = {y}});
    expect_gradient(
        linear.inputs[0], linear.scalar(),
        linear.backward(OpKind::linear_backward_data, {y, w}, {x}, {linear.dy, linear.inputs[1]})[0]);
    const auto of_weights =
        linear.backward(OpKind::linear_backward_weights, {y, x}, {w, b}, {linear.dy, linear.inputs[0]});
    expect_gradient(linear.inputs[1], linear.scalar(), of_weights[0]);
    expect_gradient(linear.inputs[2], linear.scalar(), of_weights[1]);
}

TEST(Gradients, of_the_loss_are_derivatives_with_smoothing_weights_and_a_short_batch) {
    const TensorDesc logits{5, 4};
    OpDesc d{.kind = OpKind::softmax_cross_entropy,
             .label_smoothing = 0.1f,
             .class_weights = true,
             .gradient = true};
    d.inputs = {
        logits, TensorDesc({5}, Layout::plain, DType::i32), TensorDesc({1}, Layout::plain, DType::i32), {4}};
    d.outputs = {result_desc(), logits};
    Values x = random_values(logits, 1);
    const Values labels = {3, 0, 1, 2, 0}, count = {3}, weights = {0.5, 2, 1, 0.25};
    const auto run = [&] { return reference(d, {x, labels, count, weights}); };
    expect_gradient(
        x, [&] { return run()[0][0]; }, run()[1]);
}

}  // namespace

}  // namespace onecycle::testing
