// Adaptive average pooling over activations [N,H,W,C] to features [N,C,side,side]: see
// rules/adaptive_rules.h. T: float, bf16, f16.
#pragma once

#include "kernels/cuda.h"

namespace onecycle::ONECYCLE_CUDA {

// Fewer than 2^31 elements on either side.
struct AdaptivePoolShape {
    std::int32_t images, channels, height, width, side;
};

// y[n][c][i][j] = mean of x[n][.][.][c] over window (i, j).
template <typename T>
void adaptive_average_pool(T* y, const T* x, const AdaptivePoolShape& shape, cudaStream_t stream);

// dx[n][h][w][c] = sum over the windows that cover (h, w) of dy / their pixels.
template <typename T>
void adaptive_average_pool_backward(T* dx, const T* dy, const AdaptivePoolShape& shape, cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
