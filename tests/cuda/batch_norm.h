// What the tests of batch norm and pools share.
#pragma once

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cuda/cuda.h"
#include "ops/cuda/builders.h"

namespace onecycle::testing {

// Passes as kernels of their own, or all in one cooperative grid.
inline Machine machine_of(bool one_grid, int multiprocessors = 2) {
    emulated::Context context;
    context.multiprocessors = multiprocessors;
    context.one_grid_bytes = one_grid ? std::size_t{1} << 40 : 0;
    if (on_gpu()) return {cuda_device_under_test(), cuda_backend_under_test(context.one_grid_bytes)};
    return {make_emulated_device(), emulated::make_backend(context)};
}

inline TensorDesc activation(TensorDesc t, DType type) {
    t.layout = Layout::nhwc;
    t.type = type;
    return t;
}

// Odd numbers of rows; channels that fill vectors and tiles, some vectors only, and no vectors; 1
// and more slots.
inline const TensorDesc batch_norm_shapes[] = {
    {3, 16, 5, 7},  {7, 48, 3, 3},  {1, 5, 7, 5},   {2, 20, 11, 13}, {19, 32, 1, 1},
    {1, 8, 37, 41}, {3, 136, 5, 3}, {1, 67, 13, 7}, {2, 64, 11, 13}, {1, 3, 1, 2}};

// A float's errors add up over some operations; a 16-bit result is one float rounded: `roundings`
// times.
inline void expect_near(const Outcome& outcome, const std::vector<Values>& expected, double roundings = 1.1) {
    EXPECT_TRUE(outcome.redzones_intact);
    EXPECT_TRUE(outcome.repeats);
    ASSERT_EQ(outcome.outputs.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const DType type = outcome.desc.outputs[i].type;
        ASSERT_EQ(outcome.outputs[i].size(), expected[i].size()) << "output " << i;
        double largest = 1;
        for (double v : expected[i]) largest = std::max(largest, std::abs(v));
        const double allowed = (type == DType::f32 ? 40 : roundings) * rounding(type) * largest;
        for (std::size_t k = 0; k < expected[i].size(); ++k)
            ASSERT_NEAR(outcome.outputs[i][k], expected[i][k], allowed)
                << name_of(outcome.desc.kind) << " of " << to_string(outcome.desc.inputs[0]) << ", output "
                << i << ", element " << k;
    }
}

inline void expect_same(const Outcome& a, const Outcome& b) {
    ASSERT_EQ(a.outputs.size(), b.outputs.size());
    for (std::size_t i = 0; i < a.outputs.size(); ++i)
        EXPECT_EQ(a.outputs[i], b.outputs[i]) << "output " << i;
}

// The stem's pool runs three kernels always.
inline bool can_be_one_grid(OpKind kind) {
    return kind != OpKind::batch_norm_max_pool && kind != OpKind::batch_norm_max_pool_backward;
}

// Bits depend neither on the order of blocks, nor on how many run, nor on how the passes are
// launched.
inline void expect_same_bits_however_launched(const OpDesc& desc, const std::vector<Values>& inputs) {
    const Outcome expected = run_op(desc, inputs, machine_of(false));
    emulated::set_schedule_seed(17);
    expect_same(run_op(desc, inputs, machine_of(false)), expected);
    expect_same(run_op(desc, inputs, machine_of(true, 1)), expected);
    expect_same(run_op(desc, inputs, machine_of(true, 5)), expected);
    emulated::set_schedule_seed(1);
    if (on_gpu()) return;
    // Where a grid that meets has little room it is smaller; where it has none there are three
    // kernels.
    for (const int most : {1, 0}) {
        emulated::limit_resident_blocks(most);
        const Machine machine = machine_of(true, 2);
        const auto together = [&] {
            return machine.device->runtime_calls().of["cudaLaunchCooperativeKernel"];
        };
        const std::uint64_t before = together();
        expect_same(run_op(desc, inputs, machine), expected);
        EXPECT_EQ(together() > before, most > 0 && can_be_one_grid(desc.kind)) << most;
    }
    emulated::limit_resident_blocks(emulated::no_limit_of_blocks);
}

// --- PyTorch's numbers (tests/reference/generate_layers.py) ---

inline const nlohmann::json& pytorch() {
    static const auto parsed = nlohmann::json::parse(std::ifstream(reference_data("layers.json")));
    return parsed;
}

// The generator's inputs.
inline Values pytorch_values(const TensorDesc& t, std::int64_t seed) {
    Values v;
    for (std::int64_t k = 0; k < t.elements(); ++k)
        v.push_back(
            static_cast<double>(static_cast<float>((k * 7919 + seed * 104729) % 2003) / 1001.0f - 1.0f));
    return v;
}

inline void expect_pytorch(const Values& got, const nlohmann::json& expected, const std::string& what) {
    const auto truth = expected.get<Values>();
    ASSERT_EQ(got.size(), truth.size()) << what;
    double most = 1e-3;
    for (double v : truth) most = std::max(most, std::abs(v));
    for (std::size_t k = 0; k < got.size(); ++k)
        ASSERT_NEAR(got[k], truth[k], 1e-5 * most) << what << " element " << k;
}

}  // namespace onecycle::testing
