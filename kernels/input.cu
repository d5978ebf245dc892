#include "kernels/input.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 256;

// Plain-loop equivalent: x[p][c] = (images[p][c] / 255 - mean[c]) / stddev[c] for c < 3, else 0.
// The divisions round as the CPU back end's do, so f32 values are equal to its values bit for bit.
// Bytes: 3 read and stored * sizeof(T) written for each pixel. A thread makes a pixel: the reads of a warp are one
// contiguous stretch, and eight channels of 16 bits leave as one vector.
template <typename T, int stored>
__global__ void __launch_bounds__(threads)
    normalize_kernel(T* __restrict__ x,                        // [pixels, stored]
                     const std::uint8_t* __restrict__ images,  // [pixels, 3]
                     std::int64_t pixels, Normalization n) {
    const std::int64_t stride = std::int64_t{gridDim.x} * threads;
    for (std::int64_t p = std::int64_t{blockIdx.x} * threads + threadIdx.x; p < pixels; p += stride) {
        T out[stored];
#pragma unroll
        for (int c = 0; c < stored; ++c) out[c] = from_float<T>(0.0f);
#pragma unroll
        for (int c = 0; c < 3; ++c)
            out[c] =
                from_float<T>((static_cast<float>(images[3 * p + c]) / 255.0f - n.mean[c]) / n.stddev[c]);
        if constexpr (stored % Vec<T>::size == 0) {
#pragma unroll
            for (int c = 0; c < stored; c += Vec<T>::size) {
                Vec<T> vector;
#pragma unroll
                for (int k = 0; k < Vec<T>::size; ++k) vector.v[k] = out[c + k];
                store_vec(x + stored * p + c, vector);
            }
        } else {
#pragma unroll
            for (int c = 0; c < stored; ++c) x[stored * p + c] = out[c];
        }
    }
}

}  // namespace

template <typename T>
void normalize_images(T* x, const std::uint8_t* images, std::int64_t pixels, int stored_channels,
                      const Normalization& normalization, cudaStream_t stream) {
    const std::int64_t blocks = divide_up(pixels, threads);
    const LaunchShape shape{static_cast<unsigned>(blocks < 8192 ? blocks : 8192), threads};
    if (stored_channels == 8)
        launch("normalize_images", normalize_kernel<T, 8>, shape, stream, x, images, pixels, normalization);
    else
        launch("normalize_images", normalize_kernel<T, 3>, shape, stream, x, images, pixels, normalization);
}

#define ONECYCLE_INSTANTIATE(T)                                                                         \
    template void normalize_images<T>(T*, const std::uint8_t*, std::int64_t, int, const Normalization&, \
                                      cudaStream_t);
ONECYCLE_INSTANTIATE(float)
ONECYCLE_INSTANTIATE(bf16)
ONECYCLE_INSTANTIATE(f16)

}  // namespace onecycle::ONECYCLE_CUDA
