#include "kernels/confusion.h"

#include "ops/cuda/builders.h"

namespace onecycle::ONECYCLE_CUDA {

BuiltOp make_confusion(const OpDesc& desc, const Context&) {
    require_confusion(desc);
    return op_from(desc, 0,
                   [n = desc.inputs[0][0], classes = desc.inputs[0][1]](void* const* in, void* const* out,
                                                                        void*, cudaStream_t stream) {
                       count_confusion(output<std::int32_t>(out, 0), input<float>(in, 0),
                                       input<std::int32_t>(in, 1), input<std::int32_t>(in, 2), n, classes,
                                       stream);
                   });
}

}  // namespace onecycle::ONECYCLE_CUDA
