// Convolutions by plain loops: for the rare case that cuDNN has no engine that works, and to check
// those it has. Right at any size, slow at all of them. Layouts nhwc and ohwi; c counts padding
// channels, too.
#pragma once

#include "kernels/cuda.h"

namespace onecycle::ONECYCLE_CUDA {

struct ConvolutionSizes {
    std::int64_t n, h, w, c, o, out_h, out_w;
    int kernel, stride, padding;
};

// y = x * w. T: float, bf16, f16; sums are float and rounded once.
template <typename T>
void conv2d_direct(T* y, const T* x, const T* w, const ConvolutionSizes& sizes, cudaStream_t stream);

// dx = dy * w^T; with accumulate dx +=, rounded once.
template <typename T>
void conv2d_direct_backward_data(T* dx, const T* dy, const T* w, const ConvolutionSizes& sizes,
                                 bool accumulate, cudaStream_t stream);

// dw = sum over images and pixels of dy x
template <typename T>
void conv2d_direct_backward_weights(T* dw, const T* dy, const T* x, const ConvolutionSizes& sizes,
                                    cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
