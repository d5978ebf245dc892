// Batch norm over activations [rows, C] (nhwc), T: float, bf16, f16; C that does not fill 16-byte
// vectors is walked one number at a time. Vectors of channels are [C] float. Sums have a fixed
// order that depends on the shape only. Formulas: Ioffe and Szegedy 2015, section 3; the variance
// is the biased one.
#pragma once

#include "kernels/cuda.h"

namespace onecycle::ONECYCLE_CUDA {

struct BatchNormShape {
    std::int64_t rows, channels;
    double epsilon;
    // 0: a kernel for each pass. Else all passes in one cooperative grid of as many blocks as so
    // many multiprocessors hold at once: right when what both passes read fits in L2. Two such
    // grids must never run at the same time (branches of a graph): each could hold multiprocessors
    // that the other waits for.
    int one_grid_multiprocessors = 0;
};

// One batch norm's operands, forward.
template <typename T>
struct NormOperands {
    const T* x;          // [rows, C]
    const float* gamma;  // [C]
    const float* beta;   // [C]
    float* mean;         // [C], written
    float* variance;     // [C], written
};

// y = [max(0,] bn(x) [+ residual] [)], with the statistics of these rows, which are written.
// `residual` may be null.
template <typename T>
void batch_norm(T* y, const NormOperands<T>& norm, const T* residual, bool relu, const BatchNormShape& shape,
                void* workspace, cudaStream_t stream);
// The statistics alone. `workspace`: as of batch_norm.
template <typename T>
void batch_norm_statistics(float* mean, float* variance, const T* x, const BatchNormShape& shape,
                           void* workspace, cudaStream_t stream);
// y as of batch_norm, with given statistics.
template <typename T>
void batch_norm_inference(T* y, const T* x, const float* gamma, const float* beta, const float* mean,
                          const float* variance, const T* residual, bool relu, const BatchNormShape& shape,
                          cudaStream_t stream);
// y = max(0, bn(a.x) + bn(b.x))
template <typename T>
void batch_norm_pair(T* y, const NormOperands<T>& a, const NormOperands<T>& b, const BatchNormShape& shape,
                     void* workspace, cudaStream_t stream);

// Bytes of workspace, forward; `tensors`: 2 for a pair.
template <typename T>
std::size_t batch_norm_workspace(std::int64_t rows, std::int64_t channels, int tensors);

}  // namespace onecycle::ONECYCLE_CUDA
