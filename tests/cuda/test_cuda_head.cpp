// What fastai's head is made of, on the emulator: concatenated pooling, dropout, batch norm of
// features, a linear layer without bias.
#include <limits>

#include "cuda/batch_norm.h"

namespace onecycle::testing {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

TensorDesc features(std::int64_t n, std::int64_t c, DType type) {
    return TensorDesc({n, c}, Layout::plain, type);
}
TensorDesc index_of(std::int64_t n, std::int64_t c) {
    return TensorDesc({n, c}, Layout::plain, DType::i32);
}
OpDesc pool_of(const TensorDesc& x) {
    return {.kind = OpKind::concat_pool,
            .inputs = {x},
            .outputs = {features(x[0], 2 * x[1], x.type), index_of(x[0], x[1])}};
}
OpDesc dropout_of(const TensorDesc& x, double share) {
    OpDesc d{.kind = OpKind::dropout, .inputs = {x, control_desc()}, .outputs = {x}};
    d.dropout = share;
    d.seed = 11;
    d.dropout_layer = 2;
    return d;
}

// Channels that fill vectors and tiles, or not; fewer pixels than a block has lines, as many, and
// more.
const TensorDesc pool_shapes[] = {{3, 16, 4, 4},  {1, 20, 2, 8}, {7, 40, 1, 1}, {2, 5, 7, 9},
                                  {1, 264, 7, 7}, {2, 67, 1, 3}, {3, 8, 13, 11}};

TEST(CudaConcatPool, agrees_with_the_reference_forward_and_backward) {
    const Machine machine = emulated_machine();
    for (DType type : float_types)
        for (const TensorDesc& shape : pool_shapes) {
            const TensorDesc x = activation(shape, type);
            const OpDesc forward = pool_of(x);
            const Values values = random_values(x, 1);
            expect_agrees(forward, {values}, type == DType::f32 ? 20 : 1, machine);
            const Values index = reference(forward, {values})[1];
            const OpDesc backward{
                .kind = OpKind::concat_pool_backward, .inputs = forward.outputs, .outputs = {x}};
            expect_agrees(backward, {random_values(forward.outputs[0], 2), index},
                          type == DType::f32 ? 20 : 1, machine);
        }
}

TEST(CudaConcatPool, takes_the_first_maximum_and_lets_nan_win) {
    for (DType type : float_types)
        for (const std::int64_t channels : {1, 8}) {
            const TensorDesc x = activation({5, channels, 3, 7}, type);
            Values values;
            const auto plane = [&](double fill, std::initializer_list<std::pair<std::size_t, double>> set) {
                Values v(21, fill);
                for (const auto& [at, value] : set) v[at] = value;
                for (std::int64_t c = 0; c < channels; ++c) values.insert(values.end(), v.begin(), v.end());
            };
            plane(0, {{4, 3}, {12, 3}, {20, 3}});            // in one line and in others
            plane(0, {{9, nan}, {18, nan}, {2, infinity}});  // NaN after and before
            plane(-infinity, {});
            plane(-2, {{20, 5}});
            plane(nan, {});
            const Outcome outcome = run_op(pool_of(x), {values}, emulated_machine());
            const double expected[] = {4, 9, 0, 20, 0};
            for (std::int64_t k = 0; k < 5 * channels; ++k)
                EXPECT_EQ(outcome.outputs[1][static_cast<std::size_t>(k)], expected[k / channels])
                    << name_of(type) << " image " << k / channels;
            EXPECT_EQ(outcome.outputs[0][0], 3);
            EXPECT_TRUE(std::isnan(outcome.outputs[0][static_cast<std::size_t>(2 * channels)]));
        }
}

TEST(CudaConcatPool, has_the_same_bits_whatever_the_order_of_blocks) {
    const TensorDesc x = activation({7, 72, 7, 7}, DType::bf16);
    std::vector<Values> results;
    for (std::uint64_t seed : {0, 1, 2}) {
        emulated::set_schedule_seed(seed);
        results.push_back(run_op(pool_of(x), {random_values(x, 1)}, emulated_machine()).outputs[0]);
        EXPECT_EQ(results.back(), results.front());
    }
}

TEST(CudaConcatPool, goes_on_to_further_tiles_when_there_are_more_than_blocks) {
    const TensorDesc x = activation({8200, 1, 1, 2}, DType::f32);
    expect_agrees(pool_of(x), {random_values(x, 1)}, 20, emulated_machine());
}

TEST(CudaDropout, agrees_with_the_reference_in_every_type_and_at_odd_sizes) {
    const Machine machine = emulated_machine();
    for (DType type : float_types)
        for (const auto& [n, c] : {std::pair{1, 3}, {7, 5}, {3, 512}, {64, 67}, {2, 1024}})
            for (const double share : {0.0, 0.25, 0.5}) {
                const TensorDesc x = features(n, c, type);
                // The factor is a rounded number, too.
                expect_agrees(dropout_of(x, share), {random_values(x, 1), control_values(5)}, 2, machine);
            }
}

TEST(CudaDropout, has_the_masks_of_the_cpu) {
    const TensorDesc x = features(64, 515, DType::f32);
    const std::vector<Values> in = {random_values(x, 1), control_values(1'000'003)};
    EXPECT_EQ(run_op(dropout_of(x, 0.25), in, emulated_machine()).outputs[0],
              run_op(dropout_of(x, 0.25), in, 2).outputs[0]);
}

TEST(CudaDropout, masks_differ_by_update_layer_micro_batch_and_seed_and_drop_their_share) {
    const TensorDesc x = features(64, 512, DType::f32);
    const Values ones(static_cast<std::size_t>(x.elements()), 1.0);
    const OpDesc base = dropout_of(x, 0.25);
    std::vector<Values> masks;
    const auto add = [&](const OpDesc& desc, std::int64_t update, std::int32_t micro = 0) {
        masks.push_back(run_op(desc, {ones, control_values(update, micro)}, emulated_machine()).outputs[0]);
        const auto dropped = std::count(masks.back().begin(), masks.back().end(), 0.0);
        // Five standard deviations: sqrt(32768 / 4 * 3 / 4) = 78.
        EXPECT_NEAR(static_cast<double>(dropped), 32768 * 0.25, 400);
    };
    add(base, 5);
    add(base, 6);
    OpDesc other = base;
    other.dropout_layer = 3;
    add(other, 5);
    add(base, 5, 1);  // the second micro batch
    other = base;
    other.seed = 12;
    add(other, 5);
    for (std::size_t a = 0; a < masks.size(); ++a)
        for (std::size_t b = 0; b < a; ++b) {
            std::size_t same = 0;
            for (std::size_t k = 0; k < ones.size(); ++k) same += masks[a][k] == masks[b][k];
            // Independent masks agree in 0.75^2 + 0.25^2 of all places.
            EXPECT_NEAR(static_cast<double>(same), 32768 * 0.625, 450) << a << " and " << b;
        }
}

TEST(CudaDropout, lets_nan_through) {
    const TensorDesc x = features(4, 8, DType::bf16);
    const Outcome outcome =
        run_op(dropout_of(x, 0.5), {Values(32, nan), control_values(1)}, emulated_machine());
    for (double v : outcome.outputs[0]) EXPECT_TRUE(std::isnan(v));
}

TEST(CudaBatchNorm, of_features_agrees_with_the_reference) {
    for (DType type : float_types)
        for (const auto& [n, c] : {std::pair{3, 16}, {7, 67}, {64, 512}, {2, 1024}}) {
            const TensorDesc x = features(n, c, type), v{c};
            const OpDesc norm{.kind = OpKind::batch_norm, .inputs = {x, v, v}, .outputs = {x, v, v}};
            const std::vector<Values> in = {random_values(x, 1), random_values(v, 2), random_values(v, 3)};
            const auto out = reference(norm, in);
            expect_near(run_op(norm, in, machine_of(false)), out);
            expect_same(run_op(norm, in, machine_of(true)), run_op(norm, in, machine_of(false)));
            const OpDesc inference{
                .kind = OpKind::batch_norm_inference, .inputs = {x, v, v, v, v}, .outputs = {x}};
            const std::vector<Values> given = {in[0], in[1], in[2], out[1], stored_as(DType::f32, out[2])};
            expect_near(run_op(inference, given, machine_of(false)), reference(inference, given));
            const OpDesc backward{
                .kind = OpKind::batch_norm_backward, .inputs = {x, x, v, v, v, v}, .outputs = {x, v, v}};
            const std::vector<Values> back = {
                random_values(x, 4),           in[0], stored_as(DType::f32, out[1]),
                stored_as(DType::f32, out[2]), in[1], in[2]};
            expect_near(run_op(backward, back, machine_of(false)), reference(backward, back));
        }
}

TEST(CudaLinear, of_a_hidden_layer_has_no_bias_and_stays_in_its_type) {
    const Machine machine = emulated_machine();
    for (DType type : float_types) {
        const TensorDesc x = features(7, 65, type), w = features(33, 65, type), y = features(7, 33, type);
        OpDesc d{.kind = OpKind::linear, .inputs = {x, w}, .outputs = {y}};
        d.bias = false;
        expect_agrees(d, {random_values(x, 1), random_values(w, 2)}, type == DType::f32 ? 20 : 1.01, machine);
        d.kind = OpKind::linear_backward_weights;
        d.inputs = {y, x};
        d.outputs = {TensorDesc{33, 65}};
        expect_agrees(d, {random_values(y, 1), random_values(x, 2)}, 20, machine);
    }
}

}  // namespace

}  // namespace onecycle::testing
