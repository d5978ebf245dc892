#include "kernels/concat_pool.h"

#include "kernels/channel_tiles.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int columns = warp_lanes, lines = 8, threads = columns * lines;

// What a channel's pixels so far come to.
struct Found {
    float best;
    std::int32_t place;
    float sum;

    // Of equal values the earlier pixel wins, and NaN is above everything.
    __device__ __forceinline__ void take(float value, std::int32_t at) {
        const bool nan = best != best, new_nan = value != value;
        const bool equal = value == best || (nan && new_nan);
        if (equal ? at < place : new_nan || (!nan && value > best)) {
            best = value;
            place = at;
        }
    }
};

// y[n][c] = max over p of x[n][p][c], y[n][C + c] = sum over p of x[n][p][c], / P; index[n][c] =
// the first p of the maximum. Bytes moved: x once. A block takes 32 packs of V channels of an
// image, so that a warp reads one stretch of a pixel; its 8 lines take every eighth pixel each, and
// what they found is put together in the order of the lines: with 49 pixels of 512 channels a line
// a thread would leave most of the GPU waiting for 49 loads in a row.
template <typename T, int V>
__global__ void __launch_bounds__(threads) concat_pool_kernel(T* __restrict__ y,                 // [N,2C]
                                                              std::int32_t* __restrict__ index,  // [N,C]
                                                              const T* __restrict__ x,           // [N,P,C]
                                                              ConcatPoolShape shape) {
    ONECYCLE_SHARED(Found, shared, threads * V);
    const unsigned images = static_cast<unsigned>(shape.images), pixels = static_cast<unsigned>(shape.pixels);
    const unsigned chunks = (static_cast<unsigned>(shape.channels) + columns * V - 1) / (columns * V);
    const unsigned column = threadIdx.x % columns, line = threadIdx.x / columns;
    for (unsigned tile = blockIdx.x; tile < images * chunks; tile += gridDim.x) {
        const std::int64_t image = tile / chunks, channel = (tile % chunks * columns + column) * V;
        const bool inside = channel < shape.channels;
        Found found[V];
        if (inside && line < pixels) {
            const T* const from = x + image * shape.pixels * shape.channels + channel;
            Pack<T, V> loaded = load_pack<V>(from + line * shape.channels);
#pragma unroll
            for (int k = 0; k < V; ++k) {
                const float value = to_float(loaded.v[k]);
                found[k] = {value, static_cast<std::int32_t>(line), value};
            }
            for (unsigned p = line + lines; p < pixels; p += lines) {
                loaded = load_pack<V>(from + p * shape.channels);
#pragma unroll
                for (int k = 0; k < V; ++k) {
                    const float value = to_float(loaded.v[k]);
                    found[k].take(value, static_cast<std::int32_t>(p));
                    found[k].sum += value;
                }
            }
#pragma unroll
            for (int k = 0; k < V; ++k) shared[(line * columns + column) * V + k] = found[k];
        }
        __syncthreads();
        if (inside && line == 0) {
            const unsigned used = pixels < lines ? pixels : lines;
#pragma unroll
            for (int k = 0; k < V; ++k) {
                for (unsigned other = 1; other < used; ++other) {
                    const Found next = shared[(other * columns + column) * V + k];
                    found[k].take(next.best, next.place);
                    found[k].sum += next.sum;
                }
                y[image * 2 * shape.channels + channel + k] = from_float<T>(found[k].best);
                y[(image * 2 + 1) * shape.channels + channel + k] =
                    from_float<T>(found[k].sum / static_cast<float>(pixels));
                index[image * shape.channels + channel + k] = found[k].place;
            }
        }
        __syncthreads();  // the next tile writes the same places
    }
}

// dx[n][p][c] = dy[n][C + c] / P + (p == index[n][c] ? dy[n][c] : 0). Bytes moved: dx once, dy and
// index 1/P of it a few times, from the cache.
template <typename T, int V>
__global__ void __launch_bounds__(threads)
    concat_pool_backward_kernel(T* __restrict__ dx,                      // [N,P,C]
                                const T* __restrict__ dy,                // [N,2C]
                                const std::int32_t* __restrict__ index,  // [N,C]
                                ConcatPoolShape shape) {
    const unsigned packs = static_cast<unsigned>(shape.channels) / V,
                   pixels = static_cast<unsigned>(shape.pixels);
    const unsigned all = static_cast<unsigned>(shape.images) * pixels * packs, stride = gridDim.x * threads;
    for (unsigned i = blockIdx.x * threads + threadIdx.x; i < all; i += stride) {
        const unsigned row = i / packs, pixel = row % pixels;
        const std::int64_t image = row / pixels, channel = i % packs * V;
        const Pack<T, V> of_maximum = load_pack<V>(dy + image * 2 * shape.channels + channel);
        const Pack<T, V> of_mean = load_pack<V>(dy + (image * 2 + 1) * shape.channels + channel);
        Pack<T, V> out;
#pragma unroll
        for (int k = 0; k < V; ++k) {
            const float share = to_float(of_mean.v[k]) / static_cast<float>(shape.pixels);
            const bool here = index[image * shape.channels + channel + k] == static_cast<std::int32_t>(pixel);
            out.v[k] = from_float<T>(share + (here ? to_float(of_maximum.v[k]) : 0.0f));
        }
        store_pack(dx + std::int64_t{row} * shape.channels + channel, out);
    }
}

LaunchShape grid_of(std::int64_t blocks) {
    return {static_cast<unsigned>(blocks < 8192 ? blocks : 8192), threads};
}

}  // namespace

template <typename T>
void concat_pool(T* y, std::int32_t* index, const T* x, const ConcatPoolShape& shape, cudaStream_t stream) {
    with_vector<T>(shape.channels, [&]<int V>() {
        launch("concat_pool", concat_pool_kernel<T, V>,
               grid_of(shape.images * divide_up(shape.channels, columns * V)), stream, y, index, x, shape);
    });
}

template <typename T>
void concat_pool_backward(T* dx, const T* dy, const std::int32_t* index, const ConcatPoolShape& shape,
                          cudaStream_t stream) {
    with_vector<T>(shape.channels, [&]<int V>() {
        const std::int64_t packs = shape.images * shape.pixels * shape.channels / V;
        launch("concat_pool_backward", concat_pool_backward_kernel<T, V>, grid_of(divide_up(packs, threads)),
               stream, dx, dy, index, shape);
    });
}

#define ONECYCLE_INSTANTIATE(T)                                                                      \
    template void concat_pool<T>(T*, std::int32_t*, const T*, const ConcatPoolShape&, cudaStream_t); \
    template void concat_pool_backward<T>(T*, const T*, const std::int32_t*, const ConcatPoolShape&, \
                                          cudaStream_t);
ONECYCLE_INSTANTIATE(float)
ONECYCLE_INSTANTIATE(bf16)
ONECYCLE_INSTANTIATE(f16)

}  // namespace onecycle::ONECYCLE_CUDA
