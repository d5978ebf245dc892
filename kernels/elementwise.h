// ReLU and addition on their own, where nothing else took them along.
#pragma once

#include "kernels/cuda.h"

namespace onecycle::ONECYCLE_CUDA {

// y = max(0, x), n elements. T: float, bf16, f16.
template <typename T>
void relu(T* y, const T* x, std::int64_t n, cudaStream_t stream);

// dx = y > 0 ? dy : 0
template <typename T>
void relu_backward(T* dx, const T* dy, const T* y, std::int64_t n, cudaStream_t stream);

// y = a + b
template <typename T>
void add(T* y, const T* a, const T* b, std::int64_t n, cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
