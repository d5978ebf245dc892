#include "kernels/linear.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 256;

// for n, o: y[n][o] += b[o]. Bytes moved: y twice, b once (again from the cache). Logits are a few
// hundred KB at most, so elements are walked one a thread.
__global__ void __launch_bounds__(threads) add_bias_kernel(float* __restrict__ y,        // [n,o]
                                                           const float* __restrict__ b,  // [o]
                                                           std::int64_t elements, std::int64_t o) {
    const std::int64_t stride = std::int64_t{gridDim.x} * threads;
    for (std::int64_t i = std::int64_t{blockIdx.x} * threads + threadIdx.x; i < elements; i += stride)
        y[i] += b[i % o];
}

constexpr int slices = threads / warp_lanes;

// for o: db[o] = sum over n of dy[n][o]. Bytes moved: dy once. A block takes 32 columns, so that a
// warp reads 32 neighbours; its 8 warps take every eighth row, and their sums are added in the
// order of the warps.
template <typename T>
__global__ void __launch_bounds__(threads) bias_gradient_kernel(float* __restrict__ db,    // [o]
                                                                const T* __restrict__ dy,  // [n,o]
                                                                std::int64_t n, std::int64_t o) {
    ONECYCLE_SHARED(float, partial, threads);
    const int lane = threadIdx.x % warp_lanes, slice = threadIdx.x / warp_lanes;
    const std::int64_t column = std::int64_t{blockIdx.x} * warp_lanes + lane;
    float sum = 0;
    if (column < o)
        for (std::int64_t row = slice; row < n; row += slices) sum += to_float(dy[row * o + column]);
    partial[threadIdx.x] = sum;
    __syncthreads();
    if (slice != 0 || column >= o) return;
    for (int s = 1; s < slices; ++s) sum += partial[s * warp_lanes + lane];
    db[column] = sum;
}

// for i: to[i] = from[i]. Bytes moved: each once.
template <typename To, typename From>
__global__ void __launch_bounds__(threads) convert_kernel(To* __restrict__ to,            // [n]
                                                          const From* __restrict__ from,  // [n]
                                                          std::int64_t n) {
    const std::int64_t stride = std::int64_t{gridDim.x} * threads;
    for (std::int64_t i = std::int64_t{blockIdx.x} * threads + threadIdx.x; i < n; i += stride)
        to[i] = from_float<To>(to_float(from[i]));
}

LaunchShape shape_for(std::int64_t elements) {
    const std::int64_t blocks = divide_up(elements, threads);
    return {static_cast<unsigned>(blocks < 4096 ? blocks : 4096), threads};
}

}  // namespace

void add_bias(float* y, const float* b, std::int64_t n, std::int64_t o, cudaStream_t stream) {
    launch("add_bias", add_bias_kernel, shape_for(n * o), stream, y, b, n * o, o);
}

template <typename T>
void bias_gradient(float* db, const T* dy, std::int64_t n, std::int64_t o, cudaStream_t stream) {
    const LaunchShape shape{static_cast<unsigned>(divide_up(o, warp_lanes)), threads};
    launch("bias_gradient", bias_gradient_kernel<T>, shape, stream, db, dy, n, o);
}

template <typename To, typename From>
void convert(To* to, const From* from, std::int64_t n, cudaStream_t stream) {
    launch("convert", convert_kernel<To, From>, shape_for(n), stream, to, from, n);
}

#define ONECYCLE_INSTANTIATE(T)                                                                 \
    template void bias_gradient<T>(float*, const T*, std::int64_t, std::int64_t, cudaStream_t); \
    template void convert<T, float>(T*, const float*, std::int64_t, cudaStream_t);              \
    template void convert<T, bf16>(T*, const bf16*, std::int64_t, cudaStream_t);                \
    template void convert<T, f16>(T*, const f16*, std::int64_t, cudaStream_t);
ONECYCLE_INSTANTIATE(float)
ONECYCLE_INSTANTIATE(bf16)
ONECYCLE_INSTANTIATE(f16)

}  // namespace onecycle::ONECYCLE_CUDA
