// What linear layers need beside their matrix products, and the biases of convolutions, whose
// activations are matrices of a row a pixel.
#pragma once

#include "kernels/cuda.h"

namespace onecycle::ONECYCLE_CUDA {

// y[n,o] = x[n,o] + b[o]; y may be x. T: float, bf16, f16.
template <typename T>
void add_bias(T* y, const T* x, const float* b, std::int64_t n, std::int64_t o, cudaStream_t stream);

// db[o] = sum over n of dy[n,o]. T: float, bf16, f16.
template <typename T>
void bias_gradient(float* db, const T* dy, std::int64_t n, std::int64_t o, cudaStream_t stream);

// The same for many rows: in bias_gradient_chunks(n) chunks of them, whose sums lie in `partials`
// [chunks,o] in between. One chunk needs none.
std::int64_t bias_gradient_chunks(std::int64_t n);
template <typename T>
void bias_gradient(float* db, float* partials, const T* dy, std::int64_t n, std::int64_t o,
                   cudaStream_t stream);

// to[i] = from[i] rounded to its type, n elements.
template <typename To, typename From>
void convert(To* to, const From* from, std::int64_t n, cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
