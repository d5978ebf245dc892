// What the classifier needs beside its matrix products.
#pragma once

#include "kernels/cuda.h"

namespace onecycle::ONECYCLE_CUDA {

// y[n,o] += b[o]
void add_bias(float* y, const float* b, std::int64_t n, std::int64_t o, cudaStream_t stream);

// db[o] = sum over n of dy[n,o]. T: float, bf16, f16.
template <typename T>
void bias_gradient(float* db, const T* dy, std::int64_t n, std::int64_t o, cudaStream_t stream);

// to[i] = from[i] rounded to its type, n elements.
template <typename To, typename From>
void convert(To* to, const From* from, std::int64_t n, cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
