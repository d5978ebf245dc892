
#include "cuda/cuda.h"
#include "device/emulated/block.h"

namespace onecycle::testing {

namespace {

struct Sizes {
    std::int64_t n, k, o;
};
constexpr Sizes all_sizes[] = {{1, 5, 3}, {3, 37, 10}, {7, 64, 11}, {6, 512, 101}, {70, 33, 2}, {1, 1, 1}};

struct Head {
    TensorDesc x, w, y, dy;
};

Head head(const Sizes& s, DType type, DType dy_type) {
    return {.x = TensorDesc({s.n, s.k}, Layout::plain, type),
            .w = TensorDesc({s.o, s.k}, Layout::plain, type),
            .y = TensorDesc{s.n, s.o},
            .dy = TensorDesc({s.n, s.o}, Layout::plain, dy_type)};
}

TEST(CudaLinear, logits_are_f32_whatever_the_type_of_the_weights) {
    const Machine machine = emulated_machine();
    for (const Sizes& s : all_sizes)
        for (DType type : float_types) {
            const Head h = head(s, type, type);
            const OpDesc desc{.kind = OpKind::linear, .inputs = {h.x, h.w, {s.o}}, .outputs = {h.y}};
            expect_agrees(desc, {random_values(h.x, 1), random_values(h.w, 2), random_values({s.o}, 3)}, 20,
                          machine);
        }
}

TEST(CudaLinear, gradients_agree_with_the_reference_for_16_bit_and_for_f32_gradients_of_logits) {
    const Machine machine = emulated_machine();
    for (const Sizes& s : all_sizes)
        for (DType type : float_types)
            for (DType dy_type : {type, DType::f32}) {
                const Head h = head(s, type, dy_type);
                // Already of the type that the products take.
                const Values dy = stored_as(type, random_values(h.dy, 1));
                const OpDesc data{
                    .kind = OpKind::linear_backward_data, .inputs = {h.dy, h.w}, .outputs = {h.x}};
                expect_agrees(data, {dy, random_values(h.w, 2)}, type == DType::f32 ? 20 : 1.01, machine);
                const OpDesc weights{.kind = OpKind::linear_backward_weights,
                                     .inputs = {h.dy, h.x},
                                     .outputs = {TensorDesc{s.o, s.k}, TensorDesc{s.o}}};
                expect_agrees(weights, {dy, random_values(h.x, 2)}, 20, machine);
            }
}

TEST(CudaLinear, the_biass_gradient_has_the_same_bits_whatever_the_order_of_blocks) {
    const Head h = head({1000, 8, 70}, DType::f32, DType::f32);
    const OpDesc desc{.kind = OpKind::linear_backward_weights,
                      .inputs = {h.dy, h.x},
                      .outputs = {TensorDesc{70, 8}, TensorDesc{70}}};
    std::vector<Values> results;
    for (std::uint64_t seed : {0, 1, 2}) {
        emulated::set_schedule_seed(seed);
        results.push_back(
            run_op(desc, {random_values(h.dy, 1), random_values(h.x, 2)}, emulated_machine()).outputs[1]);
        EXPECT_EQ(results.back(), results.front());
    }
}

TEST(CudaLinear, a_gradient_that_is_not_finite_reaches_weights_and_bias) {
    const Head h = head({3, 4, 5}, DType::bf16, DType::bf16);
    const OpDesc desc{.kind = OpKind::linear_backward_weights,
                      .inputs = {h.dy, h.x},
                      .outputs = {TensorDesc{5, 4}, TensorDesc{5}}};
    Values dy(15, 1.0);
    dy[6] = std::numeric_limits<double>::quiet_NaN();  // row 1, class 1
    const Outcome outcome = run_op(desc, {dy, Values(12, 1.0)}, emulated_machine());
    for (std::size_t o = 0; o < 5; ++o) {
        EXPECT_EQ(std::isnan(outcome.outputs[1][o]), o == 1);
        EXPECT_EQ(std::isnan(outcome.outputs[0][o * 4]), o == 1);
    }
}

}  // namespace

}  // namespace onecycle::testing
