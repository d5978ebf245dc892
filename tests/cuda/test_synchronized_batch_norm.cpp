// Batch norm over several ranks, op by op on both back ends: the ranks together are one batch norm of
// the whole batch. The ranks are run one after the other; what a rank would receive is stored before.
#include <algorithm>
#include <functional>

#include "cuda/cuda.h"
#include "cuda/known_ranks.h"

namespace onecycle::testing {

namespace {

using MakeMachine = std::function<Machine(Communicator*)>;

Machine cpu_of(Communicator* ranks) {
    return {make_cpu_device(0), make_cpu_backend(2, ranks)};
}
Machine emulated_of(Communicator* ranks) {
    return {make_emulated_device(), make_emulated_backend(ranks)};
}

std::vector<Values> outputs_of(const OpDesc& desc, const std::vector<Values>& inputs,
                               const Machine& machine) {
    const Outcome outcome = run_op(desc, inputs, machine);
    EXPECT_TRUE(outcome.redzones_intact && outcome.repeats) << name_of(desc.kind);
    return outcome.outputs;
}

// A collective on every rank. [rank][output]
std::vector<std::vector<Values>> on_all_ranks(OpKind kind, const std::vector<std::vector<Values>>& pairs,
                                              const MakeMachine& machine, bool two_levels = false) {
    std::vector<float> all;
    for (const std::vector<Values>& pair : pairs)
        for (const Values& values : {pair[0], pair[1]}) all.insert(all.end(), values.begin(), values.end());
    std::vector<std::vector<Values>> results;
    for (std::size_t r = 0; r < pairs.size(); ++r) {
        const TensorDesc v{static_cast<std::int64_t>(pairs[r][0].size())};
        OpDesc desc{.kind = kind, .inputs = {v, v}, .outputs = {v, v}};
        desc.rank = static_cast<int>(r);
        desc.ranks = static_cast<int>(pairs.size());
        desc.two_levels = two_levels;
        KnownRanks ranks(desc.rank, desc.ranks, {}, all);
        results.push_back(outputs_of(desc, pairs[r], machine(&ranks)));
        EXPECT_EQ(results.back(), results.front()) << "the ranks disagree";
    }
    return results;
}

Values part(const Values& whole, std::size_t rank, std::size_t ranks) {
    const auto n = static_cast<std::ptrdiff_t>(whole.size() / ranks);
    const auto begin = whole.begin() + n * static_cast<std::ptrdiff_t>(rank);
    return {begin, begin + n};
}

void expect_near(const Values& got, const Values& expected, double allowed, const std::string& what) {
    ASSERT_EQ(got.size(), expected.size()) << what;
    double most = 1;
    for (double v : expected) most = std::max(most, std::abs(v));
    for (std::size_t k = 0; k < got.size(); ++k)
        ASSERT_NEAR(got[k], expected[k], allowed * most) << what << ", element " << k;
}

struct Variant {
    bool relu, residual, second;
};

void expect_one_batch_norm(const TensorDesc& x, std::size_t ranks, const Variant& variant,
                           const MakeMachine& machine) {
    const auto [relu, residual, second] = variant;
    const double close = x.type == DType::f32 ? 4e-6 : 1.1 * rounding(x.type);
    const TensorDesc v{x[1]};
    TensorDesc whole = x;
    whole.dims[0] *= static_cast<std::int64_t>(ranks);
    Values values = random_values(whole, 1);
    // The ranks' means differ much, as those of real batches do little.
    for (std::size_t k = 0; k < values.size(); ++k)
        values[k] += static_cast<double>(k * ranks / values.size());
    values = stored_as(x.type, values);
    const Values gamma = random_values(v, 2), beta = random_values(v, 3), other = random_values(whole, 4),
                 dy = random_values(whole, 5), dy2 = random_values(whole, 6);
    const Machine alone = machine(nullptr);
    const auto of_rank = [&](const Values& all, std::size_t r) { return part(all, r, ranks); };

    OpDesc forward{.kind = OpKind::batch_norm, .inputs = {whole, v, v}, .outputs = {whole, v, v}};
    forward.relu = relu;
    forward.residual = residual;
    std::vector<Values> in = {values, gamma, beta};
    if (residual) in.push_back(other);
    const std::vector<Values> expected = reference(forward, in);

    std::vector<std::vector<Values>> own;
    for (std::size_t r = 0; r < ranks; ++r)
        own.push_back(outputs_of({.kind = OpKind::batch_norm_statistics, .inputs = {x}, .outputs = {v, v}},
                                 {of_rank(values, r)}, alone));
    const std::vector<Values> statistics = on_all_ranks(OpKind::combine_statistics, own, machine)[0];
    expect_near(statistics[0], expected[1], 4e-6, "mean");
    expect_near(statistics[1], expected[2], 4e-6, "variance");

    OpDesc apply{.kind = OpKind::batch_norm_inference, .inputs = {x, v, v, v, v}, .outputs = {x}};
    apply.relu = relu;
    apply.residual = residual;
    if (residual) apply.inputs.push_back(x);
    OpDesc gradients{.kind = OpKind::batch_norm_gradients, .inputs = {x, x, v, v, v, v}, .outputs = {v, v}};
    gradients.relu = relu;
    gradients.residual = residual;
    gradients.second_gradient = second;
    if (second) gradients.inputs.push_back(x);
    if (residual) {
        gradients.inputs.push_back(x);
        gradients.outputs.push_back(x);
    }
    Values y;
    std::vector<std::vector<Values>> sums;
    for (std::size_t r = 0; r < ranks; ++r) {
        in = {of_rank(values, r), gamma, beta, statistics[0], statistics[1]};
        if (residual) in.push_back(of_rank(other, r));
        const Values of_this = outputs_of(apply, in, alone)[0];
        expect_near(of_this, of_rank(expected[0], r), close, "y");
        y.insert(y.end(), of_this.begin(), of_this.end());
        in = {of_rank(dy, r), of_rank(values, r), statistics[0], statistics[1], gamma, beta};
        if (second) in.push_back(of_rank(dy2, r));
        if (residual) in.push_back(of_this);
        sums.push_back(outputs_of(gradients, in, alone));
    }

    OpDesc backward{.kind = OpKind::batch_norm_backward, .inputs = {whole, whole, v, v, v, v}};
    backward.relu = relu;
    backward.residual = residual;
    backward.second_gradient = second;
    backward.outputs = {whole, v, v};
    in = {dy, values, expected[1], expected[2], gamma, beta};
    if (second) in.push_back(dy2);
    if (residual) in.push_back(y);
    const std::vector<Values> truth = reference(backward, in);
    const std::vector<Values> means = on_all_ranks(OpKind::average_gradients, sums, machine)[0];
    for (std::size_t i = 0; i < 2; ++i) {
        Values scaled = means[i];
        for (double& m : scaled) m *= static_cast<double>(ranks);
        expect_near(scaled, truth[1 + i], 1e-5, i ? "dbeta" : "dgamma");
    }
    OpDesc input{
        .kind = OpKind::batch_norm_input_gradient, .inputs = {x, x, v, v, v, v, v, v}, .outputs = {x}};
    input.relu = relu && !residual;
    input.second_gradient = second && !residual;
    if (input.second_gradient) input.inputs.push_back(x);
    for (std::size_t r = 0; r < ranks; ++r) {
        if (residual) expect_near(sums[r][2], of_rank(truth[3], r), close, "dresidual");
        in = {residual ? sums[r][2] : of_rank(dy, r),
              of_rank(values, r),
              statistics[0],
              statistics[1],
              gamma,
              beta,
              means[0],
              means[1]};
        if (input.second_gradient) in.push_back(of_rank(dy2, r));
        // 16 bits: g was rounded before, too.
        expect_near(outputs_of(input, in, alone)[0], of_rank(truth[0], r), (residual ? 2 : 1) * close, "dx");
    }
}

constexpr Variant variants[] = {{false, false, false}, {true, false, false}, {true, false, true},
                                {true, true, false},   {true, true, true},   {false, true, false}};

TEST(SynchronizedBatchNorm, of_ranks_is_one_of_the_whole_batch) {
    for (const std::size_t ranks : {2, 3})
        for (const Variant& variant : variants)
            for (const TensorDesc& shape : {TensorDesc{3, 16, 5, 7}, TensorDesc{1, 5, 7, 5}})
                for (const Layout layout : {Layout::plain, Layout::nhwc}) {
                    TensorDesc x = shape;
                    x.layout = layout;
                    expect_one_batch_norm(x, ranks, variant, cpu_of);
                }
}

TEST(SynchronizedBatchNorm, of_ranks_is_one_of_the_whole_batch_on_the_emulated_device) {
    for (const std::size_t ranks : {2, 3})
        for (const Variant& variant : variants)
            for (const DType type : float_types)
                for (const TensorDesc& shape : {TensorDesc{3, 16, 5, 7}, TensorDesc{1, 5, 7, 5}}) {
                    TensorDesc x = shape;
                    x.layout = Layout::nhwc;
                    x.type = type;
                    expect_one_batch_norm(x, ranks, variant, emulated_of);
                }
}

TEST(SynchronizedBatchNorm, takes_features) {
    expect_one_batch_norm({5, 19}, 2, {true, false, false}, cpu_of);
    expect_one_batch_norm({5, 19}, 2, {true, false, false}, emulated_of);
}

TEST(SynchronizedBatchNorm, exchanges_the_same_in_two_levels) {
    std::vector<std::vector<Values>> own;
    for (std::uint64_t r = 0; r < 24; ++r)
        own.push_back({stored_as(DType::f32, random_values({5}, r)),
                       stored_as(DType::f32, random_values({5}, 99 + r))});
    for (const MakeMachine& machine : {MakeMachine(cpu_of), MakeMachine(emulated_of)})
        for (const OpKind kind : {OpKind::combine_statistics, OpKind::average_gradients})
            EXPECT_EQ(on_all_ranks(kind, own, machine, true), on_all_ranks(kind, own, machine));
}

// The variance of numbers far from zero is no difference of large numbers.
TEST(SynchronizedBatchNorm, keeps_the_digits_of_a_small_variance) {
    const std::vector<std::vector<Values>> own = {{{1000}, {0.25}}, {{1000.5}, {0.5}}};
    for (const MakeMachine& machine : {MakeMachine(cpu_of), MakeMachine(emulated_of)}) {
        const std::vector<Values> all = on_all_ranks(OpKind::combine_statistics, own, machine)[0];
        EXPECT_EQ(all[0], Values{1000.25});
        EXPECT_EQ(all[1], Values{0.375 + 0.0625});
    }
}

}  // namespace

}  // namespace onecycle::testing
