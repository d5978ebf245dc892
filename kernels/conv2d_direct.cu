#include "kernels/conv2d_direct.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 256;

LaunchShape shape_for(std::int64_t elements) {
    const std::int64_t blocks = divide_up(elements, threads);
    return {static_cast<unsigned>(blocks < 65536 ? blocks : 65536), threads};
}

// for n, oy, ox, o: y[n][oy][ox][o] = sum over ky, kx, c of x[n][oy*stride-padding+ky][..][c] *
// w[o][ky][kx][c] One output element a thread; neighbours share x, so it comes from the caches.
// Bytes moved from memory: x, w, y about once each while they fit there; the sums run at a small
// part of the arithmetic's speed.
template <typename T>
__global__ void __launch_bounds__(threads)
    conv2d_direct_kernel(T* __restrict__ y,        // [n,out_h,out_w,o]
                         const T* __restrict__ x,  // [n,h,w,c]
                         const T* __restrict__ w,  // [o,kernel,kernel,c]
                         ConvolutionSizes s) {
    const std::int64_t elements = s.n * s.out_h * s.out_w * s.o, step = std::int64_t{gridDim.x} * threads;
    for (std::int64_t i = std::int64_t{blockIdx.x} * threads + threadIdx.x; i < elements; i += step) {
        const std::int64_t o = i % s.o, ox = i / s.o % s.out_w, oy = i / s.o / s.out_w % s.out_h,
                           n = i / s.o / s.out_w / s.out_h;
        float sum = 0;
        for (int ky = 0; ky < s.kernel; ++ky)
            for (int kx = 0; kx < s.kernel; ++kx) {
                const std::int64_t iy = oy * s.stride - s.padding + ky, ix = ox * s.stride - s.padding + kx;
                if (iy < 0 || iy >= s.h || ix < 0 || ix >= s.w) continue;
                const T* const from = x + ((n * s.h + iy) * s.w + ix) * s.c;
                const T* const weight = w + ((o * s.kernel + ky) * s.kernel + kx) * s.c;
                for (std::int64_t c = 0; c < s.c; ++c) sum += to_float(from[c]) * to_float(weight[c]);
            }
        y[i] = from_float<T>(sum);
    }
}

// for n, iy, ix, c: dx[n][iy][ix][c] = (dx +) sum over ky, kx, o of dy[n][oy][ox][o] *
// w[o][ky][kx][c] where oy*stride - padding + ky = iy, and ox alike. One element a thread, as
// above; neighbours read neighbours of w. Bytes moved from memory: dy, w, dx about once each, as
// above.
template <typename T>
__global__ void __launch_bounds__(threads)
    conv2d_direct_backward_data_kernel(T* __restrict__ dx,        // [n,h,w,c]
                                       const T* __restrict__ dy,  // [n,out_h,out_w,o]
                                       const T* __restrict__ w,   // [o,kernel,kernel,c]
                                       ConvolutionSizes s, bool accumulate) {
    const std::int64_t elements = s.n * s.h * s.w * s.c, step = std::int64_t{gridDim.x} * threads,
                       taps = std::int64_t{s.kernel} * s.kernel;
    for (std::int64_t i = std::int64_t{blockIdx.x} * threads + threadIdx.x; i < elements; i += step) {
        const std::int64_t c = i % s.c, ix = i / s.c % s.w, iy = i / s.c / s.w % s.h, n = i / s.c / s.w / s.h;
        float sum = 0;
        for (int ky = 0; ky < s.kernel; ++ky)
            for (int kx = 0; kx < s.kernel; ++kx) {
                const std::int64_t up = iy + s.padding - ky, left = ix + s.padding - kx;
                if (up < 0 || left < 0 || up % s.stride != 0 || left % s.stride != 0) continue;
                const std::int64_t oy = up / s.stride, ox = left / s.stride;
                if (oy >= s.out_h || ox >= s.out_w) continue;
                const T* const from = dy + ((n * s.out_h + oy) * s.out_w + ox) * s.o;
                const T* const weight = w + (std::int64_t{ky} * s.kernel + kx) * s.c + c;
                for (std::int64_t o = 0; o < s.o; ++o)
                    sum += to_float(from[o]) * to_float(weight[o * taps * s.c]);
            }
        if (accumulate) sum += to_float(dx[i]);
        dx[i] = from_float<T>(sum);
    }
}

constexpr int slices = threads / warp_lanes;

// for o, ky, kx, c: dw[o][ky][kx][c] = sum over n, oy, ox of dy[n][oy][ox][o] * x[n][iy][ix][c]. A
// block has one (o, ky, kx) and 32 channels, so that a warp reads 32 neighbours of x; its 8 warps
// take every eighth pixel, and their sums are added in the order of the warps. Bytes moved: dw
// once; x and dy again for every tap and, of x, output channel, from the caches while they fit.
template <typename T>
__global__ void __launch_bounds__(threads)
    conv2d_direct_backward_weights_kernel(T* __restrict__ dw,        // [o,kernel,kernel,c]
                                          const T* __restrict__ dy,  // [n,out_h,out_w,o]
                                          const T* __restrict__ x,   // [n,h,w,c]
                                          ConvolutionSizes s) {
    ONECYCLE_SHARED(float, partial, threads);
    const int lane = threadIdx.x % warp_lanes, slice = threadIdx.x / warp_lanes;
    const std::int64_t groups = (s.c + warp_lanes - 1) / warp_lanes, taps = std::int64_t{s.kernel} * s.kernel,
                       pixels = s.n * s.out_h * s.out_w;
    for (std::int64_t block = blockIdx.x; block < s.o * taps * groups; block += gridDim.x) {
        const std::int64_t c = block % groups * warp_lanes + lane, tap = block / groups % taps,
                           o = block / groups / taps;
        float sum = 0;
        for (std::int64_t p = slice; p < pixels && c < s.c; p += slices) {
            const std::int64_t ox = p % s.out_w, oy = p / s.out_w % s.out_h, n = p / s.out_w / s.out_h;
            const std::int64_t iy = oy * s.stride - s.padding + tap / s.kernel,
                               ix = ox * s.stride - s.padding + tap % s.kernel;
            if (iy < 0 || iy >= s.h || ix < 0 || ix >= s.w) continue;
            sum += to_float(dy[p * s.o + o]) * to_float(x[((n * s.h + iy) * s.w + ix) * s.c + c]);
        }
        __syncthreads();  // the sums of the block before may still be read
        partial[threadIdx.x] = sum;
        __syncthreads();
        if (slice != 0 || c >= s.c) continue;
        for (int k = 1; k < slices; ++k) sum += partial[k * warp_lanes + lane];
        dw[(o * taps + tap) * s.c + c] = from_float<T>(sum);
    }
}

}  // namespace

template <typename T>
void conv2d_direct(T* y, const T* x, const T* w, const ConvolutionSizes& s, cudaStream_t stream) {
    launch("conv2d_direct", conv2d_direct_kernel<T>, shape_for(s.n * s.out_h * s.out_w * s.o), stream, y, x,
           w, s);
}

template <typename T>
void conv2d_direct_backward_data(T* dx, const T* dy, const T* w, const ConvolutionSizes& s, bool accumulate,
                                 cudaStream_t stream) {
    launch("conv2d_direct_backward_data", conv2d_direct_backward_data_kernel<T>,
           shape_for(s.n * s.h * s.w * s.c), stream, dx, dy, w, s, accumulate);
}

template <typename T>
void conv2d_direct_backward_weights(T* dw, const T* dy, const T* x, const ConvolutionSizes& s,
                                    cudaStream_t stream) {
    const std::int64_t blocks = s.o * s.kernel * s.kernel * divide_up(s.c, warp_lanes);
    const LaunchShape shape{static_cast<unsigned>(blocks < 8192 ? blocks : 8192), threads};
    launch("conv2d_direct_backward_weights", conv2d_direct_backward_weights_kernel<T>, shape, stream, dw, dy,
           x, s);
}

#define ONECYCLE_INSTANTIATE(T)                                                                         \
    template void conv2d_direct<T>(T*, const T*, const T*, const ConvolutionSizes&, cudaStream_t);      \
    template void conv2d_direct_backward_data<T>(T*, const T*, const T*, const ConvolutionSizes&, bool, \
                                                 cudaStream_t);                                         \
    template void conv2d_direct_backward_weights<T>(T*, const T*, const T*, const ConvolutionSizes&,    \
                                                    cudaStream_t);
ONECYCLE_INSTANTIATE(float)
ONECYCLE_INSTANTIATE(bf16)
ONECYCLE_INSTANTIATE(f16)

}  // namespace onecycle::ONECYCLE_CUDA
