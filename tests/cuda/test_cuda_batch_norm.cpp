// Batch norm forward, alone, in pairs and with the stem's pool, on the emulator.
#include <cmath>
#include <limits>

#include "cuda/batch_norm.h"

namespace onecycle::testing {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

struct Training {
    OpDesc desc;
    std::vector<Values> inputs;
};

Training training(const TensorDesc& x, bool relu, bool residual) {
    const TensorDesc v{x[1]};
    Training t{{.kind = OpKind::batch_norm,
                .inputs = {x, v, v},
                .outputs = {x, v, v},
                .relu = relu,
                .residual = residual},
               {random_values(x, 1), random_values(v, 2), random_values(v, 3)}};
    if (residual) {
        t.desc.inputs.push_back(x);
        t.inputs.push_back(random_values(x, 4));
    }
    return t;
}

Training pair_training(const TensorDesc& x) {
    const TensorDesc v{x[1]};
    return {{.kind = OpKind::batch_norm_pair, .inputs = {x, v, v, x, v, v}, .outputs = {x, v, v, v, v}},
            {random_values(x, 1), random_values(v, 2), random_values(v, 3), random_values(x, 4),
             random_values(v, 5), random_values(v, 6)}};
}

Training pooled_training(const TensorDesc& x, int kernel, int stride, int padding) {
    const TensorDesc v{x[1]};
    OpDesc d{.kind = OpKind::batch_norm_max_pool, .kernel = kernel, .stride = stride, .padding = padding};
    TensorDesc y = x;
    for (std::size_t i : {2, 3}) y.dims[i] = (x.dims[i] + 2 * padding - kernel) / stride + 1;
    TensorDesc index = y;
    index.type = DType::u8;
    d.inputs = {x, v, v};
    d.outputs = {y, index, v, v};
    return {d, {random_values(x, 1), random_values(v, 2), random_values(v, 3)}};
}

TEST(CudaBatchNorm, agrees_with_the_reference_in_training) {
    const Machine machine = machine_of(false);
    for (DType type : float_types)
        for (const TensorDesc& shape : batch_norm_shapes)
            for (int flags = 0; flags < 4; ++flags) {
                const auto [desc, in] = training(activation(shape, type), flags & 1, flags & 2);
                expect_near(run_op(desc, in, machine), reference(desc, in));
            }
}

TEST(CudaBatchNorm, agrees_with_the_reference_in_inference) {
    const Machine machine = machine_of(false);
    for (DType type : float_types)
        for (const TensorDesc& shape : batch_norm_shapes)
            for (int flags = 0; flags < 4; ++flags) {
                auto [desc, in] = training(activation(shape, type), flags & 1, flags & 2);
                const TensorDesc v{shape[1]};
                Values variance = random_values(v, 8);
                for (double& value : variance)
                    value = static_cast<double>(static_cast<float>(std::abs(value) + 0.5));
                desc.kind = OpKind::batch_norm_inference;
                desc.inputs.insert(desc.inputs.begin() + 3, {v, v});
                desc.outputs.resize(1);
                in.insert(in.begin() + 3, {random_values(v, 7), variance});
                expect_near(run_op(desc, in, machine), reference(desc, in));
            }
}

TEST(CudaBatchNorm, of_a_pair_agrees_with_the_reference) {
    const Machine machine = machine_of(false);
    for (DType type : float_types)
        for (const TensorDesc& shape : batch_norm_shapes) {
            const auto [desc, in] = pair_training(activation(shape, type));
            expect_near(run_op(desc, in, machine), reference(desc, in));
        }
}

TEST(CudaBatchNorm, with_a_pool_is_batch_norm_then_pool_bit_for_bit) {
    const Machine machine = machine_of(false);
    const struct {
        TensorDesc x;
        int kernel, stride, padding;
    } cases[] = {{{3, 16, 7, 11}, 3, 2, 1},
                 {{1, 5, 8, 5}, 2, 2, 0},
                 {{7, 24, 5, 6}, 3, 1, 1},
                 {{2, 32, 13, 12}, 3, 2, 1},
                 {{1, 7, 11, 13}, 5, 2, 2}};
    for (DType type : float_types)
        for (const auto& c : cases) {
            const auto [desc, in] = pooled_training(activation(c.x, type), c.kernel, c.stride, c.padding);
            const Outcome fused = run_op(desc, in, machine);
            const Training norm = training(activation(c.x, type), true, false);
            const Outcome normalized = run_op(norm.desc, in, machine);
            OpDesc pool = desc;
            pool.kind = OpKind::max_pool;
            pool.inputs = {desc.inputs[0]};
            pool.outputs = {desc.outputs[0], desc.outputs[1]};
            const Outcome pooled = run_op(pool, {normalized.outputs[0]}, machine);
            EXPECT_EQ(fused.outputs[0], pooled.outputs[0]);
            EXPECT_EQ(fused.outputs[1], pooled.outputs[1]);
            EXPECT_EQ(fused.outputs[2], normalized.outputs[1]);
            EXPECT_EQ(fused.outputs[3], normalized.outputs[2]);
            // In 16 bits rounding makes equal maxima, of which the first is taken; values agree all
            // the same.
            std::vector<Values> expected = reference(desc, in);
            if (type != DType::f32) expected[1] = fused.outputs[1];
            expect_near(fused, expected);
        }
}

TEST(CudaBatchNorm, gives_the_same_bits_however_it_is_launched) {
    for (const TensorDesc& shape : {TensorDesc{1, 8, 37, 41}, {3, 136, 5, 3}}) {
        const TensorDesc x = activation(shape, DType::bf16);
        for (const Training& t : {training(x, true, true), pair_training(x), pooled_training(x, 3, 2, 1)})
            expect_same_bits_however_launched(t.desc, t.inputs);
    }
}

// The variance of one channel of a batch, against plain double sums.
void expect_variance(const TensorDesc& x, const Values& values) {
    const TensorDesc v{x[1]};
    const OpDesc desc{.kind = OpKind::batch_norm, .inputs = {x, v, v}, .outputs = {x, v, v}};
    const std::vector<Values> in = {values, Values(static_cast<std::size_t>(x[1]), 1),
                                    Values(static_cast<std::size_t>(x[1]), 0)};
    const Outcome outcome = run_op(desc, in, machine_of(false));
    const std::vector<Values> expected = reference(desc, in);
    for (std::size_t c = 0; c < expected[2].size(); ++c)
        EXPECT_NEAR(outcome.outputs[2][c] / expected[2][c], 1, 1e-5) << "channel " << c;
}

TEST(CudaBatchNorm, keeps_its_digits_when_the_mean_is_far_from_zero) {
    for (std::int64_t channels : {5, 16}) {
        const TensorDesc x = activation({8, channels, 16, 16}, DType::f32);
        Values values = random_values(x, 1);
        for (double& value : values)
            value = static_cast<double>(static_cast<float>(1000 + value * std::sqrt(3.0)));  // deviation 1
        expect_variance(x, values);
        values[0] = 0;  // and the very first number, from which deviations are taken, is an outlier
        expect_variance(x, values);
        values[0] = 1100;
        expect_variance(x, values);
    }
}

TEST(CudaBatchNorm, of_a_constant_has_variance_0) {
    const TensorDesc x = activation({3, 8, 7, 5}, DType::f32), v{8};
    const OpDesc desc{.kind = OpKind::batch_norm, .inputs = {x, v, v}, .outputs = {x, v, v}};
    const Outcome outcome =
        run_op(desc, {Values(840, 0.1f), Values(8, 3), Values(8, 0.25)}, machine_of(true));
    EXPECT_EQ(outcome.outputs[1], Values(8, 0.1f));
    EXPECT_EQ(outcome.outputs[2], Values(8, 0));
    for (double y : outcome.outputs[0]) EXPECT_NEAR(y, 0.25, 1e-4);  // 0.1 * 3/sqrt(epsilon) cancels
}

TEST(CudaBatchNorm, lets_nan_and_infinity_through_in_their_channel_only) {
    for (double bad : {nan, std::numeric_limits<double>::infinity()})
        for (DType type : float_types) {
            auto [desc, in] = training(activation({3, 16, 5, 7}, type), true, false);
            in[0][2 * 35 + 4] = bad;  // image 0, channel 2
            const Outcome outcome = run_op(desc, in, machine_of(true));
            for (std::size_t c = 0; c < 16; ++c) {
                EXPECT_EQ(std::isnan(outcome.outputs[2][c]), c == 2);
                EXPECT_EQ(std::isnan(outcome.outputs[0][c * 35]), c == 2) << "ReLU keeps NaN";
            }
        }
}

TEST(CudaBatchNorm, agrees_with_pytorch) {
    for (bool one_grid : {false, true})
        for (const auto& c : pytorch()["batch_norms"]) {
            const Machine machine = machine_of(one_grid);
            const auto s = c["shape"].get<std::vector<std::int64_t>>();
            const TensorDesc x = activation({s[0], s[1], s[2], s[3]}, DType::f32), v{s[1]};
            const bool residual = c["residual"];
            OpDesc d{.kind = OpKind::batch_norm, .inputs = {x, v, v}, .outputs = {x, v, v}};
            d.relu = c["relu"];
            d.residual = residual;
            std::vector<Values> in = {pytorch_values(x, 1), pytorch_values(v, 2), pytorch_values(v, 3)};
            if (residual) {
                d.inputs.push_back(x);
                in.push_back(pytorch_values(x, 4));
            }
            const Outcome forward = run_op(d, in, machine);
            expect_pytorch(forward.outputs[0], c["y"], "y");

            OpDesc backward = d;
            backward.kind = OpKind::batch_norm_backward;
            backward.inputs = {x, x, v, v, v, v};
            std::vector<Values> gradient_in = {pytorch_values(x, 99), in[0], forward.outputs[1],
                                               forward.outputs[2],    in[1], in[2]};
            if (residual) {
                backward.inputs.push_back(x);
                gradient_in.push_back(forward.outputs[0]);
                backward.outputs.push_back(x);
            }
            const Outcome gradients = run_op(backward, gradient_in, machine);
            const char* const names[] = {"dx", "dgamma", "dbeta", "dresidual"};
            for (std::size_t i = 0; i < gradients.outputs.size(); ++i)
                expect_pytorch(gradients.outputs[i], c[names[i]], names[i]);

            OpDesc inference = d;
            inference.kind = OpKind::batch_norm_inference;
            inference.inputs.insert(inference.inputs.begin() + 3, {v, v});
            inference.outputs = {x};
            in.insert(in.begin() + 3, pytorch_values(v, 5));
            in.insert(in.begin() + 4, pytorch_values(v, 6));
            for (double& value : in[4]) value += 1.5;
            expect_pytorch(run_op(inference, in, machine).outputs[0], c["inference"], "inference");
        }
}

}  // namespace

}  // namespace onecycle::testing
