#include "kernels/linear.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 256;

// for n, o: y[n][o] = x[n][o] + b[o]. Bytes moved: x and y, b once (again from the cache). Elements
// are walked one a thread: logits are a few hundred KB at most, and convolutions with a bias are
// few.
template <typename T>
__global__ void __launch_bounds__(threads) add_bias_kernel(T* y,                         // [n,o], may be x
                                                           const T* x,                   // [n,o]
                                                           const float* __restrict__ b,  // [o]
                                                           std::int64_t elements, std::int64_t o) {
    const std::int64_t stride = std::int64_t{gridDim.x} * threads;
    for (std::int64_t i = std::int64_t{blockIdx.x} * threads + threadIdx.x; i < elements; i += stride)
        y[i] = from_float<T>(to_float(x[i]) + b[i % o]);
}

constexpr int slices = threads / warp_lanes;

// for o: db[o] = sum over n of dy[n][o]. Bytes moved: dy once. A block takes 32 columns, so that a
// warp reads 32 neighbours; its 8 warps take every eighth row, and their sums are added in the
// order of the warps. Block row s of the grid sums the rows from s * chunk_rows on, to db[s].
template <typename T>
__global__ void __launch_bounds__(threads)
    bias_gradient_kernel(float* __restrict__ db,    // [gridDim.y,o]
                         const T* __restrict__ dy,  // [n,o]
                         std::int64_t n, std::int64_t o, std::int64_t chunk_rows) {
    ONECYCLE_SHARED(float, partial, threads);
    const int lane = threadIdx.x % warp_lanes, slice = threadIdx.x / warp_lanes;
    const std::int64_t column = std::int64_t{blockIdx.x} * warp_lanes + lane;
    const std::int64_t begin = std::int64_t{blockIdx.y} * chunk_rows;
    const std::int64_t end = begin + chunk_rows < n ? begin + chunk_rows : n;
    float sum = 0;
    if (column < o)
        for (std::int64_t row = begin + slice; row < end; row += slices)
            sum += to_float(dy[row * o + column]);
    partial[threadIdx.x] = sum;
    __syncthreads();
    if (slice != 0 || column >= o) return;
    for (int s = 1; s < slices; ++s) sum += partial[s * warp_lanes + lane];
    db[blockIdx.y * o + column] = sum;
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

constexpr std::int64_t chunk_rows = 1024, most_chunks = 512;

LaunchShape shape_for(std::int64_t elements) {
    const std::int64_t blocks = divide_up(elements, threads);
    return {static_cast<unsigned>(blocks < 4096 ? blocks : 4096), threads};
}

}  // namespace

template <typename T>
void add_bias(T* y, const T* x, const float* b, std::int64_t n, std::int64_t o, cudaStream_t stream) {
    launch("add_bias", add_bias_kernel<T>, shape_for(n * o), stream, y, x, b, n * o, o);
}

template <typename T>
void bias_gradient(float* db, const T* dy, std::int64_t n, std::int64_t o, cudaStream_t stream) {
    const LaunchShape shape{static_cast<unsigned>(divide_up(o, warp_lanes)), threads};
    launch("bias_gradient", bias_gradient_kernel<T>, shape, stream, db, dy, n, o, n);
}

std::int64_t bias_gradient_chunks(std::int64_t n) {
    const std::int64_t chunks = divide_up(n, chunk_rows);
    return chunks < most_chunks ? chunks : most_chunks;
}

template <typename T>
void bias_gradient(float* db, float* partials, const T* dy, std::int64_t n, std::int64_t o,
                   cudaStream_t stream) {
    const std::int64_t chunks = bias_gradient_chunks(n);
    if (chunks <= 1) return bias_gradient(db, dy, n, o, stream);
    const LaunchShape shape{
        .grid = {static_cast<unsigned>(divide_up(o, warp_lanes)), static_cast<unsigned>(chunks)},
        .block = threads};
    launch("bias_gradient", bias_gradient_kernel<T>, shape, stream, partials, dy, n, o, divide_up(n, chunks));
    bias_gradient(db, partials, chunks, o, stream);
}

template <typename To, typename From>
void convert(To* to, const From* from, std::int64_t n, cudaStream_t stream) {
    launch("convert", convert_kernel<To, From>, shape_for(n), stream, to, from, n);
}

#define ONECYCLE_INSTANTIATE(T)                                                                         \
    template void add_bias<T>(T*, const T*, const float*, std::int64_t, std::int64_t, cudaStream_t);    \
    template void bias_gradient<T>(float*, const T*, std::int64_t, std::int64_t, cudaStream_t);         \
    template void bias_gradient<T>(float*, float*, const T*, std::int64_t, std::int64_t, cudaStream_t); \
    template void convert<T, float>(T*, const float*, std::int64_t, cudaStream_t);                      \
    template void convert<T, bf16>(T*, const bf16*, std::int64_t, cudaStream_t);                        \
    template void convert<T, f16>(T*, const f16*, std::int64_t, cudaStream_t);
ONECYCLE_INSTANTIATE(float)
ONECYCLE_INSTANTIATE(bf16)
ONECYCLE_INSTANTIATE(f16)

}  // namespace onecycle::ONECYCLE_CUDA
