#include "kernels/adaptive_pool.h"

#include "rules/adaptive_rules.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 256;

__device__ inline std::int32_t extent(const Cover& cover) {
    return cover.end - cover.begin;
}

// for n, c, i, j: y[n][c][i][j] = mean of x[n][h][w][c] over window (i, j). Bytes moved: x once
// where the windows do not overlap, y once. A thread computes one element; neighbours take
// neighbouring channels, so x is read in whole sectors and y written with a stride: it is the
// smaller one but at the size where nothing is pooled.
template <typename T>
__global__ void __launch_bounds__(threads)
    adaptive_average_pool_kernel(T* __restrict__ y,        // [N,C,S,S]
                                 const T* __restrict__ x,  // [N,H,W,C]
                                 AdaptivePoolShape s, std::int32_t elements) {
    const unsigned stride = gridDim.x * threads, end = static_cast<unsigned>(elements);
    for (unsigned at = blockIdx.x * threads + threadIdx.x; at < end; at += stride) {
        const auto e = static_cast<std::int32_t>(at);
        const std::int32_t c = e % s.channels, window = e / s.channels % (s.side * s.side),
                           n = e / s.channels / (s.side * s.side);
        const Cover rows = window_pixels(window / s.side, s.height, s.side),
                    columns = window_pixels(window % s.side, s.width, s.side);
        float sum = 0;
        for (std::int32_t h = rows.begin; h < rows.end; ++h)
            for (std::int32_t w = columns.begin; w < columns.end; ++w)
                sum += to_float(x[((n * s.height + h) * s.width + w) * s.channels + c]);
        y[(n * s.channels + c) * s.side * s.side + window] =
            from_float<T>(sum / static_cast<float>(extent(rows) * extent(columns)));
    }
}

// for n, h, w, c: dx[n][h][w][c] = sum over the windows (i, j) that cover (h, w) of dy[n][c][i][j]
// / their pixels. Bytes moved: dx once, dy once (again from the cache).
template <typename T>
__global__ void __launch_bounds__(threads)
    adaptive_average_pool_backward_kernel(T* __restrict__ dx,        // [N,H,W,C]
                                          const T* __restrict__ dy,  // [N,C,S,S]
                                          AdaptivePoolShape s, std::int32_t elements) {
    const unsigned stride = gridDim.x * threads, end = static_cast<unsigned>(elements);
    for (unsigned at = blockIdx.x * threads + threadIdx.x; at < end; at += stride) {
        const auto e = static_cast<std::int32_t>(at);
        const std::int32_t c = e % s.channels, pixel = e / s.channels, w = pixel % s.width,
                           h = pixel / s.width % s.height, n = pixel / s.width / s.height;
        const Cover rows = pixel_windows(h, s.height, s.side), columns = pixel_windows(w, s.width, s.side);
        float sum = 0;
        for (std::int32_t i = rows.begin; i < rows.end; ++i)
            for (std::int32_t j = columns.begin; j < columns.end; ++j) {
                const std::int32_t area =
                    extent(window_pixels(i, s.height, s.side)) * extent(window_pixels(j, s.width, s.side));
                sum +=
                    to_float(dy[((n * s.channels + c) * s.side + i) * s.side + j]) / static_cast<float>(area);
            }
        dx[e] = from_float<T>(sum);
    }
}

LaunchShape shape_for(std::int32_t elements) {
    const std::int64_t blocks = divide_up(elements, threads);
    return {static_cast<unsigned>(blocks < 4096 ? blocks : 4096), threads};
}

}  // namespace

template <typename T>
void adaptive_average_pool(T* y, const T* x, const AdaptivePoolShape& s, cudaStream_t stream) {
    const std::int32_t elements = s.images * s.channels * s.side * s.side;
    launch("adaptive_average_pool", adaptive_average_pool_kernel<T>, shape_for(elements), stream, y, x, s,
           elements);
}

template <typename T>
void adaptive_average_pool_backward(T* dx, const T* dy, const AdaptivePoolShape& s, cudaStream_t stream) {
    const std::int32_t elements = s.images * s.channels * s.height * s.width;
    launch("adaptive_average_pool_backward", adaptive_average_pool_backward_kernel<T>, shape_for(elements),
           stream, dx, dy, s, elements);
}

#define ONECYCLE_INSTANTIATE(T)                                                                   \
    template void adaptive_average_pool<T>(T*, const T*, const AdaptivePoolShape&, cudaStream_t); \
    template void adaptive_average_pool_backward<T>(T*, const T*, const AdaptivePoolShape&, cudaStream_t);
ONECYCLE_INSTANTIATE(float)
ONECYCLE_INSTANTIATE(bf16)
ONECYCLE_INSTANTIATE(f16)

}  // namespace onecycle::ONECYCLE_CUDA
