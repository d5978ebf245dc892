// Bytes to numbers, in the layout that the stem reads.
#include <algorithm>

#include "kernels/input.h"
#include "ops/cuda/make.h"

namespace onecycle::ONECYCLE_CUDA {

MadeOp make_normalize_images(const OpDesc& given, const Context&) {
    require_operands(given, 1, 1);
    OpDesc desc = given;
    const TensorDesc& images = desc.inputs[0];
    require(images.rank == 4 && images.type == DType::u8 && images[3] == 3, desc, "images are u8 [N,H,W,3]");
    const DType type = desc.outputs[0].type;
    adopt_layout(desc, 0, type == DType::f32 ? Layout::nhwc : Layout::nhwc8c);
    const TensorDesc& x = desc.outputs[0];
    require(x.same_shape({images[0], 3, images[1], images[2]}), desc, "x is not [N,3,H,W]");
    require(x.layout == Layout::nhwc || x.layout == Layout::nhwc8c, desc, "x is neither nhwc nor nhwc8c");

    Normalization normalization{};
    std::copy(desc.mean.begin(), desc.mean.end(), normalization.mean);
    std::copy(desc.stddev.begin(), desc.stddev.end(), normalization.stddev);
    const std::int64_t pixels = images[0] * images[1] * images[2];
    const int stored = x.layout == Layout::nhwc8c ? 8 : 3;
    return with_float_type(desc, type, [&]<typename T>() {
        return made_of(desc, 0, [=](void* const* in, void* const* out, void*, cudaStream_t stream) {
            normalize_images(output<T>(out, 0), input<std::uint8_t>(in, 0), pixels, stored, normalization,
                             stream);
        });
    });
}

}  // namespace onecycle::ONECYCLE_CUDA
