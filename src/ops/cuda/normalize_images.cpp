// Bytes to numbers, in the layout that the stem reads.
#include <algorithm>

#include "kernels/input.h"
#include "ops/cuda/builders.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

Normalization normalization_of(const OpDesc& desc) {
    Normalization normalization{};
    std::copy(desc.mean.begin(), desc.mean.end(), normalization.mean);
    std::copy(desc.stddev.begin(), desc.stddev.end(), normalization.stddev);
    return normalization;
}

// Decides the layout of x, output 0; how many channels of a pixel are stored.
int decide_layout(OpDesc& desc) {
    adopt_layout(desc, 0, desc.outputs[0].type == DType::f32 ? Layout::nhwc : Layout::nhwc8c);
    const TensorDesc& x = desc.outputs[0];
    require(x.rank == 4 && x[1] == 3, desc, "x is not [N,3,H,W]");
    require(x.layout == Layout::nhwc || x.layout == Layout::nhwc8c, desc, "x is neither nhwc nor nhwc8c");
    return x.layout == Layout::nhwc8c ? 8 : 3;
}

std::int64_t pixels_of(const TensorDesc& x) {
    return x[0] * x[2] * x[3];
}

}  // namespace

BuiltOp make_normalize_images(const OpDesc& given, const Context&) {
    require_operands(given, 1, 1);
    OpDesc desc = given;
    const int stored = decide_layout(desc);
    const TensorDesc &images = desc.inputs[0], &x = desc.outputs[0];
    require(images.rank == 4 && images.type == DType::u8 && images[3] == 3, desc, "images are u8 [N,H,W,3]");
    require(x.same_shape({images[0], 3, images[1], images[2]}), desc, "x is not [N,3,H,W]");
    return with_float_type(desc, x.type, [&]<typename T>() {
        return op_from(desc, 0,
                       [=, pixels = pixels_of(x), normalization = normalization_of(desc)](
                           void* const* in, void* const* out, void*, cudaStream_t stream) {
                           normalize_images(output<T>(out, 0), input<std::uint8_t>(in, 0), pixels, stored,
                                            normalization, stream);
                       });
    });
}

BuiltOp make_take_batch(const OpDesc& given, const Context&) {
    require_operands(given, 2, 3);
    OpDesc desc = given;
    const int stored = decide_layout(desc);
    const TensorDesc &all = desc.inputs[0], &x = desc.outputs[0];
    const std::int64_t batch = x[0], pixels = pixels_of(x);
    const BatchLayout layout(static_cast<std::size_t>(3 * pixels), static_cast<std::size_t>(batch));
    require(all.rank == 2 && all.type == DType::u8 && all[1] == static_cast<std::int64_t>(layout.bytes), desc,
            "slots are not u8 [S,B]");
    const TensorDesc labels({batch}, Layout::plain, DType::i32), count({1}, Layout::plain, DType::i32);
    require_like(desc, desc.outputs[1], labels, "labels");
    require_like(desc, desc.outputs[2], count, "count");
    return with_float_type(desc, x.type, [&]<typename T>() {
        return op_from(desc, 0,
                       [=, slots = static_cast<int>(all[0]), accumulation = desc.accumulation,
                        normalization = normalization_of(desc)](void* const* in, void* const* out, void*,
                                                                cudaStream_t stream) {
                           const BatchSlots from{.first = input<std::uint8_t>(in, 0),
                                                 .bytes = static_cast<std::int64_t>(layout.bytes),
                                                 .labels = static_cast<std::int64_t>(layout.labels),
                                                 .count = static_cast<std::int64_t>(layout.count),
                                                 .slots = slots,
                                                 .accumulation = accumulation};
                           take_batch(output<T>(out, 0), output<std::int32_t>(out, 1),
                                      output<std::int32_t>(out, 2), from, input<StepControl>(in, 1), batch,
                                      pixels, stored, normalization, stream);
                       });
    });
}

}  // namespace onecycle::ONECYCLE_CUDA
