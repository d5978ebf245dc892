// Mixup and cutmix of a batch.
#include "kernels/mix.h"

#include "ops/cuda/builders.h"

namespace onecycle::ONECYCLE_CUDA {

BuiltOp make_mix_batch(const OpDesc& desc, const Context&) {
    require_mixing(desc);
    const TensorDesc& x = desc.inputs[0];
    require(x.layout == Layout::nhwc || x.layout == Layout::nhwc8c, desc, "x is neither nhwc nor nhwc8c");
    const auto n = x[0];
    const int height = static_cast<int>(x[2]), width = static_cast<int>(x[3]),
              channels = static_cast<int>(x.stored_elements() / (n * height * width));
    const MixRule rule(desc.mixup, desc.cutmix, desc.seed);
    return with_float_type(desc, x.type, [&]<typename T>() {
        return op_from(desc, 0, [=](void* const* in, void* const* out, void*, cudaStream_t stream) {
            mix_batch(output<T>(out, 0), output<std::int32_t>(out, 1), output<float>(out, 2),
                      input<std::int32_t>(in, 1), input<std::int32_t>(in, 2), input<StepControl>(in, 3), rule,
                      n, height, width, channels, stream);
        });
    });
}

}  // namespace onecycle::ONECYCLE_CUDA
