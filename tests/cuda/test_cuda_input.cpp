#include "cuda/cuda.h"
#include "onecycle/rng.h"

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

}  // namespace

}  // namespace onecycle::testing
