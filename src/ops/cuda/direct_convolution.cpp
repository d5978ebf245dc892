#include "kernels/conv2d_direct.h"
#include "ops/cuda/convolution.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

template <typename T>
PlannedProduct plan(const ConvolutionProblem& p) {
    const ConvolutionSizes sizes{.n = p.n,
                                 .h = p.h,
                                 .w = p.w,
                                 .c = p.c,
                                 .o = p.o,
                                 .out_h = p.out_h(),
                                 .out_w = p.out_w(),
                                 .kernel = p.kernel,
                                 .stride = p.stride,
                                 .padding = p.padding};
    return {"direct", 0,
            [sizes, pass = p.pass, accumulate = p.accumulate](const void* first, const void* second,
                                                              void* out, void*, cudaStream_t stream) {
                const T *a = static_cast<const T*>(first), *b = static_cast<const T*>(second);
                T* const to = static_cast<T*>(out);
                if (pass == Pass::forward) conv2d_direct(to, a, b, sizes, stream);
                if (pass == Pass::backward_data)
                    conv2d_direct_backward_data(to, a, b, sizes, accumulate, stream);
                if (pass == Pass::backward_weights) conv2d_direct_backward_weights(to, a, b, sizes, stream);
            }};
}

}  // namespace

PlannedProduct plan_direct_convolution(const ConvolutionProblem& problem) {
    if (problem.type == DType::bf16) return plan<bf16>(problem);
    if (problem.type == DType::f16) return plan<f16>(problem);
    return plan<float>(problem);
}

}  // namespace onecycle::ONECYCLE_CUDA
