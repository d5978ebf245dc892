// Batch norm backward, alone, in pairs and with the stem's pool, on the emulator.
#include <cmath>

#include "cuda/batch_norm.h"

namespace onecycle::testing {

namespace {

struct Backward {
    OpDesc desc;
    std::vector<Values> inputs;
};

// Inputs as forward leaves them: statistics in float, y in the activations' type.
std::vector<Values> forward_of(const OpDesc& desc, const std::vector<Values>& inputs) {
    std::vector<Values> out = reference(desc, inputs);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = stored_as(desc.outputs[i].type, out[i]);
    return out;
}

Backward backward(const TensorDesc& x, bool relu, bool residual, bool second) {
    const TensorDesc v{x[1]};
    OpDesc d{.kind = OpKind::batch_norm,
             .inputs = {x, v, v},
             .outputs = {x, v, v},
             .relu = relu,
             .residual = residual};
    const Values values = random_values(x, 1), gamma = random_values(v, 2), beta = random_values(v, 3);
    std::vector<Values> in = {values, gamma, beta};
    if (residual) {
        d.inputs.push_back(x);
        in.push_back(random_values(x, 4));
    }
    const std::vector<Values> out = forward_of(d, in);
    d.kind = OpKind::batch_norm_backward;
    d.second_gradient = second;
    d.inputs = {x, x, v, v, v, v};
    in = {random_values(x, 5), values, out[1], out[2], gamma, beta};
    if (second) {
        d.inputs.push_back(x);
        in.push_back(random_values(x, 6));
    }
    if (residual) {
        d.inputs.push_back(x);
        in.push_back(out[0]);
        d.outputs.push_back(x);
    }
    return {d, in};
}

Backward pair_backward(const TensorDesc& x, bool second) {
    const TensorDesc v{x[1]};
    const std::vector<Values> in = {random_values(x, 1), random_values(v, 2), random_values(v, 3),
                                    random_values(x, 4), random_values(v, 5), random_values(v, 6)};
    const std::vector<Values> out = forward_of(
        {.kind = OpKind::batch_norm_pair, .inputs = {x, v, v, x, v, v}, .outputs = {x, v, v, v, v}}, in);
    Backward b{{.kind = OpKind::batch_norm_pair_backward,
                .inputs = {x, x, v, v, v, x, v, v, v, x},
                .outputs = {x, v, v, x, v, v},
                .second_gradient = second},
               {random_values(x, 7), in[0], out[1], out[2], in[1], in[3], out[3], out[4], in[4], out[0]}};
    if (second) {
        b.desc.inputs.push_back(x);
        b.inputs.push_back(random_values(x, 8));
    }
    return b;
}

struct Window {
    TensorDesc x;
    int kernel, stride, padding;
};
const Window windows[] = {{{3, 16, 7, 11}, 3, 2, 1},  {{1, 5, 8, 5}, 2, 2, 0},   {{7, 24, 5, 6}, 3, 1, 1},
                          {{2, 32, 13, 12}, 3, 2, 1}, {{1, 7, 11, 13}, 5, 2, 2}, {{2, 64, 17, 19}, 3, 2, 1}};

Backward pooled_backward(const Window& w, DType type, bool second) {
    const TensorDesc x = activation(w.x, type), v{x[1]};
    TensorDesc y = x;
    for (std::size_t i : {2, 3}) y.dims[i] = (x.dims[i] + 2 * w.padding - w.kernel) / w.stride + 1;
    TensorDesc index = y;
    index.type = DType::u8;
    OpDesc d{
        .kind = OpKind::batch_norm_max_pool, .kernel = w.kernel, .stride = w.stride, .padding = w.padding};
    d.inputs = {x, v, v};
    d.outputs = {y, index, v, v};
    const std::vector<Values> in = {random_values(x, 1), random_values(v, 2), random_values(v, 3)};
    std::vector<Values> out = reference(d, in);
    d.kind = OpKind::batch_norm_max_pool_backward;
    d.second_gradient = second;
    d.inputs = {y, index, x, v, v, v, v};
    d.outputs = {x, v, v};
    Backward b{d,
               {random_values(y, 4), out[1], in[0], stored_as(DType::f32, out[2]),
                stored_as(DType::f32, out[3]), in[1], in[2]}};
    if (second) {
        b.desc.inputs.push_back(y);
        b.inputs.push_back(random_values(y, 5));
    }
    return b;
}

TEST(CudaBatchNormBackward, agrees_with_the_reference) {
    const Machine machine = machine_of(false);
    for (DType type : float_types)
        for (const TensorDesc& shape : batch_norm_shapes) {
            if (shape[0] * shape[2] * shape[3] == 2)
                continue;  // dx is 0 but for rounding, over sqrt(variance)
            for (int flags = 0; flags < 8; ++flags) {
                const bool residual = (flags & 2) != 0;
                const auto [desc, in] = backward(activation(shape, type), flags & 1, residual, flags & 4);
                // With a residual g is stored, rounded, before dx is made of it.
                expect_near(run_op(desc, in, machine), reference(desc, in), residual ? 6 : 1.1);
            }
        }
}

TEST(CudaBatchNormBackward, of_a_pair_agrees_with_the_reference) {
    const Machine machine = machine_of(false);
    for (DType type : float_types)
        for (const TensorDesc& shape : batch_norm_shapes) {
            if (shape[0] * shape[2] * shape[3] == 2) continue;
            for (bool second : {false, true}) {
                const auto [desc, in] = pair_backward(activation(shape, type), second);
                expect_near(run_op(desc, in, machine), reference(desc, in));
            }
        }
}

TEST(CudaBatchNormBackward, with_a_pool_agrees_with_the_reference) {
    const Machine machine = machine_of(false);
    for (DType type : float_types)
        for (const Window& w : windows)
            for (bool second : {false, true}) {
                const auto [desc, in] = pooled_backward(w, type, second);
                expect_near(run_op(desc, in, machine), reference(desc, in));
            }
}

TEST(CudaBatchNormBackward, gives_the_same_bits_however_it_is_launched) {
    for (const TensorDesc& shape : {TensorDesc{1, 8, 37, 41}, {3, 136, 5, 3}}) {
        const TensorDesc x = activation(shape, DType::bf16);
        for (const Backward& b : {backward(x, true, false, true), backward(x, true, true, false),
                                  pair_backward(x, false), pooled_backward({x, 3, 2, 1}, DType::bf16, true)})
            expect_same_bits_however_launched(b.desc, b.inputs);
    }
}

// The mask that backward computes from x must be the one that forward applied to what it stored, or
// a gradient would pass where the output is 0.
TEST(CudaBatchNormBackward, finds_exactly_the_mask_of_forward) {
    const Machine machine = machine_of(false);
    for (DType type : float_types) {
        const TensorDesc x = activation({4, 16, 31, 33}, type), v{16};
        constexpr std::size_t pixels = 31 * 33;
        Values values(static_cast<std::size_t>(x.elements())), gamma(16), beta(16);
        for (std::size_t k = 0; k < values.size(); ++k)
            values[k] = std::sin(static_cast<double>(k * k % 10007));
        values = stored_as(type, values);
        for (std::size_t c = 0; c < 16; ++c) gamma[c] = c % 2 ? 1.3 : -0.7;
        const OpDesc forward{
            .kind = OpKind::batch_norm, .inputs = {x, v, v}, .outputs = {x, v, v}, .relu = true};
        Outcome out = run_op(forward, {values, gamma, beta}, machine);
        // Shift beta so that many outputs come out as close to zero as floats can.
        for (std::size_t c = 0; c < 16; ++c)
            beta[c] = static_cast<double>(static_cast<float>(
                -gamma[c] * (values[c * pixels] - out.outputs[1][c]) / std::sqrt(out.outputs[2][c] + 1e-5)));
        out = run_op(forward, {values, gamma, beta}, machine);
        // With dy = 1 everywhere dbeta counts the positions that the mask lets through.
        const OpDesc backward{.kind = OpKind::batch_norm_backward,
                              .inputs = {x, x, v, v, v, v},
                              .outputs = {x, v, v},
                              .relu = true};
        const Outcome gradients =
            run_op(backward, {Values(values.size(), 1), values, out.outputs[1], out.outputs[2], gamma, beta},
                   machine);
        for (std::size_t c = 0; c < 16; ++c) {
            double open = 0;
            for (std::size_t n = 0; n < 4; ++n)
                for (std::size_t p = 0; p < pixels; ++p)
                    open += out.outputs[0][(n * 16 + c) * pixels + p] > 0;
            EXPECT_EQ(gradients.outputs[2][c], open) << c;
        }
    }
}

}  // namespace

}  // namespace onecycle::testing
