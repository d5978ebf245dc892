// Gradients of batch norm; see batch_norm.h.
#pragma once

#include "kernels/batch_norm.h"

namespace onecycle::ONECYCLE_CUDA {

// One batch norm's operands, backward. Statistics and gamma, beta are those of the forward pass.
template <typename T>
struct NormGradient {
    const T* x;             // [rows, C]
    const float* mean;      // [C]
    const float* variance;  // [C]
    const float* gamma;     // [C]
    const float* beta;      // [C]; not read where the mask comes from y
    T* dx;                  // [rows, C]
    float* dgamma;          // [C]
    float* dbeta;           // [C]
};

// Of y = [max(0,] bn(x) [)]. The gradient is dy + dy2; dy2 may be null. The ReLU's mask is computed
// again from x.
template <typename T>
void batch_norm_backward(const NormGradient<T>& norm, const T* dy, const T* dy2, bool relu,
                         const BatchNormShape& shape, void* workspace, cudaStream_t stream);
// Of y = [max(0,] bn(x) + residual [)]. The mask is y > 0; y may be null without ReLU.
template <typename T>
void batch_norm_residual_backward(const NormGradient<T>& norm, T* dresidual, const T* dy, const T* dy2,
                                  const T* y, const BatchNormShape& shape, void* workspace,
                                  cudaStream_t stream);
// The two in parts. First norm.dgamma and norm.dbeta, and dresidual, which is null without a
// residual (`y` as above; without one the mask is computed again from x).
template <typename T>
void batch_norm_gradients(const NormGradient<T>& norm, T* dresidual, const T* dy, const T* dy2, const T* y,
                          bool relu, const BatchNormShape& shape, void* workspace, cudaStream_t stream);
// Then norm.dx, with norm.dgamma and norm.dbeta given: of y = [max(0,] bn(x) [)].
template <typename T>
void batch_norm_input_gradient(const NormGradient<T>& norm, const T* dy, const T* dy2, bool relu,
                               const BatchNormShape& shape, cudaStream_t stream);
// Of y = max(0, bn(a.x) + bn(b.x)).
template <typename T>
void batch_norm_pair_backward(const NormGradient<T>& a, const NormGradient<T>& b, const T* dy, const T* dy2,
                              const T* y, const BatchNormShape& shape, void* workspace, cudaStream_t stream);

// Bytes of workspace, backward; `tensors`: 2 for a pair.
template <typename T>
std::size_t batch_norm_backward_workspace(std::int64_t rows, std::int64_t channels, int tensors);

}  // namespace onecycle::ONECYCLE_CUDA
