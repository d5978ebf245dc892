// A batch from images that stay on the device.
#include "kernels/augment.h"

#include <algorithm>

#include "ops/cuda/builders.h"
#include "rules/resample.h"

namespace onecycle::ONECYCLE_CUDA {

BuiltOp make_augment_images(const OpDesc& given, const Context&) {
    require_operands(given, 3, 3);
    OpDesc desc = given;
    const DType type = desc.outputs[0].type;
    adopt_layout(desc, 0, type == DType::f32 ? Layout::nhwc : Layout::nhwc8c);
    const TensorDesc& x = desc.outputs[0];
    require(x.layout == Layout::nhwc || x.layout == Layout::nhwc8c, desc, "x is neither nhwc nor nhwc8c");
    require(x.rank == 4 && x[1] == 3 && x[2] == x[3], desc, "x is not [N,3,S,S]");
    require(x[0] == desc.order.batch && desc.order.samples / desc.order.shares >= x[0], desc,
            "a batch is not whole");
    const TensorDesc bytes({desc.order.samples * std::int64_t{sizeof(ResidentImage)}}, Layout::plain,
                           DType::u8),
        labels({x[0]}, Layout::plain, DType::i32), count({1}, Layout::plain, DType::i32);
    require(desc.inputs[0].bytes() == bytes.bytes(), desc, "the table is not of the samples");
    require_like(desc, desc.outputs[1], labels, "labels");
    require_like(desc, desc.outputs[2], count, "count");

    const int size = static_cast<int>(x[2]);
    AugmentPlan plan{
        .order = desc.order, .rule = desc.view, .size = size, .taps = 0, .largest_crop = desc.largest_crop};
    plan.taps = most_taps(std::max(1.0, static_cast<double>(desc.largest_crop) / size));
    require(augment_tile_rows(plan) > 0, desc, "the images are too large for their views");
    Normalization normalization{};
    std::copy(desc.mean.begin(), desc.mean.end(), normalization.mean);
    std::copy(desc.stddev.begin(), desc.stddev.end(), normalization.stddev);
    const int stored = x.layout == Layout::nhwc8c ? 8 : 3;
    return with_float_type(desc, type, [&]<typename T>() {
        return op_from(desc, augment_workspace(plan),
                       [=](void* const* in, void* const* out, void* workspace, cudaStream_t stream) {
                           augment_images(output<T>(out, 0), output<std::int32_t>(out, 1),
                                          output<std::int32_t>(out, 2), input<ResidentImage>(in, 0),
                                          input<std::uint8_t>(in, 1), input<StepControl>(in, 2), workspace,
                                          plan, stored, normalization, stream);
                       });
    });
}

}  // namespace onecycle::ONECYCLE_CUDA
