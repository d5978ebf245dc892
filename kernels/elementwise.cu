#include "kernels/elementwise.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 256;

// y[i] = f(a[i], b[i]) for i < n. Bytes moved: each operand once. A thread moves 16 bytes of each;
// the tail that fills no vector is done one element a thread by the last block's threads.
template <typename T, typename F>
__global__ void __launch_bounds__(threads) map_kernel(T* __restrict__ y,        // [n]
                                                      const T* __restrict__ a,  // [n]
                                                      const T* __restrict__ b,  // [n]
                                                      std::int64_t n, F f) {
    constexpr int size = Vec<T>::size;
    const std::int64_t vectors = n / size, stride = std::int64_t{gridDim.x} * threads;
    const std::int64_t first = std::int64_t{blockIdx.x} * threads + threadIdx.x;
    for (std::int64_t i = first; i < vectors; i += stride) {
        const Vec<T> u = load_vec(a + i * size), v = load_vec(b + i * size);
        Vec<T> out;
#pragma unroll
        for (int k = 0; k < size; ++k) out.v[k] = from_float<T>(f(to_float(u.v[k]), to_float(v.v[k])));
        store_vec(y + i * size, out);
    }
    const std::int64_t i = vectors * size + first;
    if (i < n) y[i] = from_float<T>(f(to_float(a[i]), to_float(b[i])));
}

// NaN stays, as in PyTorch.
struct Relu {
    __device__ float operator()(float x, float) const { return x <= 0 ? 0.0f : x; }
};
struct ReluBackward {
    __device__ float operator()(float dy, float y) const { return y > 0 ? dy : 0.0f; }
};
struct Add {
    __device__ float operator()(float a, float b) const { return a + b; }
};

template <typename T, typename F>
void map(const char* name, T* y, const T* a, const T* b, std::int64_t n, F f, cudaStream_t stream) {
    if (n == 0) return;
    const std::int64_t blocks = divide_up(divide_up(n, Vec<T>::size), threads);
    const LaunchShape shape{static_cast<unsigned>(blocks < 4096 ? blocks : 4096), threads};
    launch(name, map_kernel<T, F>, shape, stream, y, a, b, n, f);
}

}  // namespace

template <typename T>
void relu(T* y, const T* x, std::int64_t n, cudaStream_t stream) {
    map("relu", y, x, x, n, Relu{}, stream);
}
template <typename T>
void relu_backward(T* dx, const T* dy, const T* y, std::int64_t n, cudaStream_t stream) {
    map("relu_backward", dx, dy, y, n, ReluBackward{}, stream);
}
template <typename T>
void add(T* y, const T* a, const T* b, std::int64_t n, cudaStream_t stream) {
    map("add", y, a, b, n, Add{}, stream);
}

#define ONECYCLE_INSTANTIATE(T)                                                         \
    template void relu<T>(T*, const T*, std::int64_t, cudaStream_t);                    \
    template void relu_backward<T>(T*, const T*, const T*, std::int64_t, cudaStream_t); \
    template void add<T>(T*, const T*, const T*, std::int64_t, cudaStream_t);
ONECYCLE_INSTANTIATE(float)
ONECYCLE_INSTANTIATE(bf16)
ONECYCLE_INSTANTIATE(f16)

}  // namespace onecycle::ONECYCLE_CUDA
