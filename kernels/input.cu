#include "kernels/input.h"

#include "kernels/normalize.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 256;

// Plain-loop equivalent, for each pixel p: x[p][c] = (images[p][c] / 255 - mean[c]) / stddev[c] for
// c < 3, else 0. Bytes: 3 read and stored * sizeof(T) written. A thread makes a pixel: the reads of
// a warp are one contiguous stretch.
template <typename T, int stored>
__device__ __forceinline__ void normalize(T* __restrict__ x,                        // [pixels, stored]
                                          const std::uint8_t* __restrict__ images,  // [pixels, 3]
                                          std::int64_t pixels, const Normalization& n) {
    const std::int64_t stride = std::int64_t{gridDim.x} * threads;
    for (std::int64_t p = std::int64_t{blockIdx.x} * threads + threadIdx.x; p < pixels; p += stride)
        store_normalized<T, stored>(x, p, images + 3 * p, n);
}

template <typename T, int stored>
__global__ void __launch_bounds__(threads)
    normalize_images_kernel(T* __restrict__ x, const std::uint8_t* __restrict__ images, std::int64_t pixels,
                            Normalization n) {
    normalize<T, stored>(x, images, pixels, n);
}

// normalize() of the slot that is due; labels[i], count as they lie in it. The slot is chosen here
// and not by the host, which runs ahead and does not know whether a step will be refused. Bytes: as
// normalize(), and 8 a label.
template <typename T, int stored>
__global__ void __launch_bounds__(threads, 4)
    take_batch_kernel(T* __restrict__ x,                  // [pixels, stored]
                      std::int32_t* __restrict__ labels,  // [batch]
                      std::int32_t* __restrict__ count,   // [1]
                      BatchSlots slots, const StepControl* __restrict__ control, std::int64_t batch,
                      std::int64_t pixels, Normalization n) {
    const std::int64_t due = control->update * slots.accumulation + control->micro;
    const std::uint8_t* const slot = slots.first + due % slots.slots * slots.bytes;
    normalize<T, stored>(x, slot, pixels, n);
    const auto* const from = reinterpret_cast<const std::int32_t*>(slot + slots.labels);
    const std::int64_t first = std::int64_t{blockIdx.x} * threads + threadIdx.x;
    for (std::int64_t i = first; i < batch; i += std::int64_t{gridDim.x} * threads) labels[i] = from[i];
    if (first == 0) *count = *reinterpret_cast<const std::int32_t*>(slot + slots.count);
}

LaunchShape shape_for(std::int64_t pixels) {
    const std::int64_t blocks = divide_up(pixels, threads);
    return {static_cast<unsigned>(blocks < 8192 ? blocks : 8192), threads};
}

}  // namespace

template <typename T>
void normalize_images(T* x, const std::uint8_t* images, std::int64_t pixels, int stored_channels,
                      const Normalization& normalization, cudaStream_t stream) {
    launch("normalize_images",
           stored_channels == 8 ? normalize_images_kernel<T, 8> : normalize_images_kernel<T, 3>,
           shape_for(pixels), stream, x, images, pixels, normalization);
}

template <typename T>
void take_batch(T* x, std::int32_t* labels, std::int32_t* count, const BatchSlots& slots,
                const StepControl* control, std::int64_t batch, std::int64_t pixels, int stored_channels,
                const Normalization& normalization, cudaStream_t stream) {
    launch("take_batch", stored_channels == 8 ? take_batch_kernel<T, 8> : take_batch_kernel<T, 3>,
           shape_for(pixels), stream, x, labels, count, slots, control, batch, pixels, normalization);
}

#define ONECYCLE_INSTANTIATE(T)                                                                          \
    template void normalize_images<T>(T*, const std::uint8_t*, std::int64_t, int, const Normalization&,  \
                                      cudaStream_t);                                                     \
    template void take_batch<T>(T*, std::int32_t*, std::int32_t*, const BatchSlots&, const StepControl*, \
                                std::int64_t, std::int64_t, int, const Normalization&, cudaStream_t);
ONECYCLE_INSTANTIATE(float)
ONECYCLE_INSTANTIATE(bf16)
ONECYCLE_INSTANTIATE(f16)

}  // namespace onecycle::ONECYCLE_CUDA
