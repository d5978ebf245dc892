// Global maximum and mean side by side (fastai's AdaptiveConcatPool2d of size 1). T: float, bf16,
// f16.
#pragma once

#include "kernels/cuda.h"

namespace onecycle::ONECYCLE_CUDA {

// Fewer than 2^31 elements in all: 32-bit numbers are divided without a call.
struct ConcatPoolShape {
    std::int64_t images, pixels, channels;
};

// y[n] = [maximum of each channel, then each mean]; index = the first pixel that has the maximum.
// NaN counts as the largest.
template <typename T>
void concat_pool(T* y, std::int32_t* index, const T* x, const ConcatPoolShape& shape, cudaStream_t stream);

// dx = the share of the mean's gradient, and the maximum's where index says. dy [images,2
// channels], the maximum first.
template <typename T>
void concat_pool_backward(T* dx, const T* dy, const std::int32_t* index, const ConcatPoolShape& shape,
                          cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
