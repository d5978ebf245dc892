#include <tuple>

#include "cuda/cuda.h"
#include "onecycle/error.h"
#include "rules/rng.h"

namespace onecycle::testing {

namespace {

OpDesc normalize(std::int64_t n, std::int64_t h, std::int64_t w, DType type, Layout layout) {
    OpDesc d{.kind = OpKind::normalize_images,
             .mean = {0.485f, 0.456f, 0.406f},
             .stddev = {0.229f, 0.224f, 0.225f}};
    d.inputs = {TensorDesc({n, h, w, 3}, Layout::plain, DType::u8)};
    d.outputs = {TensorDesc({n, 3, h, w}, layout, type)};
    return d;
}

Values bytes(const TensorDesc& desc) {
    RandomStream stream(3, RandomPurpose::augment, 0, 0);
    Values values(static_cast<std::size_t>(desc.elements()));
    for (double& v : values) v = stream.below(256);
    return values;
}

TEST(CudaInput, agrees_with_the_reference_in_every_type_and_layout) {
    const Machine machine = emulated_machine();
    for (DType type : float_types)
        for (Layout layout : {Layout::nhwc, Layout::nhwc8c}) {
            const OpDesc d = normalize(3, 7, 11, type, layout);
            expect_agrees(d, {bytes(d.inputs[0])}, 2, machine);
        }
}

TEST(CudaInput, f32_pixels_are_those_of_the_cpu_bit_for_bit) {
    const OpDesc d = normalize(2, 13, 5, DType::f32, Layout::nhwc);
    const Values images = bytes(d.inputs[0]);
    EXPECT_EQ(run_op(d, {images}, emulated_machine()).outputs[0], run_op(d, {images}).outputs[0]);
}

TEST(CudaInput, padded_channels_are_what_16_bit_programs_get) {
    EXPECT_EQ(run_op(normalize(1, 2, 2, DType::bf16, Layout::any), {Values(12, 7)}, emulated_machine())
                  .desc.outputs[0]
                  .layout,
              Layout::nhwc8c);
}

// Each slot has pixels, labels and a count of its own; the counters of the control block choose.
TEST(CudaInput, a_step_takes_the_batch_that_is_due) {
    const Machine machine = emulated_machine();
    constexpr std::int64_t n = 3, h = 5, w = 7, slots = 6;
    const BatchLayout layout(n * h * w * 3, n);
    OpDesc d = normalize(n, h, w, DType::f32, Layout::nhwc);
    const OpDesc plain = d;
    d.kind = OpKind::take_batch;
    d.accumulation = 3;
    d.inputs = {TensorDesc({slots, static_cast<std::int64_t>(layout.bytes)}, Layout::plain, DType::u8),
                TensorDesc({sizeof(StepControl)}, Layout::plain, DType::u8)};
    d.outputs.push_back(TensorDesc({n}, Layout::plain, DType::i32));
    d.outputs.push_back(TensorDesc({1}, Layout::plain, DType::i32));
    std::vector<std::byte> all(slots * layout.bytes);
    for (std::size_t s = 0; s < slots; ++s) {
        std::byte* const slot = all.data() + s * layout.bytes;
        for (std::size_t i = 0; i < n * h * w * 3; ++i) slot[i] = static_cast<std::byte>(31 * s + i);
        for (std::int32_t i = 0; i < n; ++i) {
            const std::int32_t label = 10 * static_cast<std::int32_t>(s) + i;
            std::memcpy(slot + layout.labels + sizeof label * static_cast<std::size_t>(i), &label,
                        sizeof label);
        }
        const auto count = static_cast<std::int32_t>(s % 3 + 1);
        std::memcpy(slot + layout.count, &count, sizeof count);
    }
    for (const auto& [update, micro, slot] :
         {std::tuple{0, 0, 0}, {0, 2, 2}, {1, 1, 4}, {2, 0, 0}, {7, 2, 5}}) {
        StepControl control{};
        control.update = update;
        control.micro = micro;
        std::vector<float> x(n * h * w * 3), expected(x.size());
        std::vector<std::int32_t> labels(n);
        std::int32_t count = 0;
        std::byte* const from = all.data() + static_cast<std::size_t>(slot) * layout.bytes;
        ASSERT_TRUE(run_in_place(d, {all.data(), &control}, {x.data(), labels.data(), &count}, machine));
        ASSERT_TRUE(run_in_place(plain, {from}, {expected.data()}, machine));
        EXPECT_EQ(x, expected) << update << " " << micro;
        EXPECT_EQ(labels, (std::vector<std::int32_t>{10 * slot, 10 * slot + 1, 10 * slot + 2}));
        EXPECT_EQ(count, slot % 3 + 1);
    }
    d.inputs[0].dims[1] += 256;
    EXPECT_THROW(machine.backend->make(d), Error) << "slots of another batch";
}

}  // namespace

}  // namespace onecycle::testing
