// Max pooling and global average pooling over activations [N,H,W,C]. T: float, bf16, f16.
#pragma once

#include "kernels/cuda.h"

namespace onecycle::ONECYCLE_CUDA {

// H, W of x, OH, OW of y; N*H*W < 2^31, kernel * kernel <= 256.
struct PoolShape {
    std::int64_t images, channels;
    int height, width, out_height, out_width;
    int kernel, stride, padding;
};

// y = max over the window, index = its place there (row * kernel + column).
template <typename T>
void max_pool(T* y, std::uint8_t* index, const T* x, const PoolShape& shape, cudaStream_t stream);

// dx = sum of dy + dy2 over the windows that chose the pixel; dy2 may be null.
template <typename T>
void max_pool_backward(T* dx, const T* dy, const T* dy2, const std::uint8_t* index, const PoolShape& shape,
                       cudaStream_t stream);

// y[n][c] = mean over the `pixels` of x[n][.][c]. U: T or float.
template <typename U, typename T>
void global_average_pool(U* y, const T* x, std::int64_t images, std::int64_t pixels, std::int64_t channels,
                         cudaStream_t stream);

// dx[n][p][c] = dy[n][c] / pixels. U: T or float.
template <typename T, typename U>
void global_average_pool_backward(T* dx, const U* dy, std::int64_t images, std::int64_t pixels,
                                  std::int64_t channels, cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
