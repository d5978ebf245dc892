#include "kernels/pool.h"

#include "kernels/channel_tiles.h"
#include "kernels/pool_window.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

// Blocks a multiprocessor are asked for, 4 or 2, so that the 528 tiles of a large tensor are one or
// two whole waves; where nothing is said, ptxas chose 40 registers here, and spilled for it.

// y[n][oy][ox][c] = max over ky, kx of x[n][oy stride - padding + ky][ox stride - padding + kx][c]
// Bytes: x once from memory (its windows overlap in L1 and L2), y and index once.
template <typename T, int V>
__global__ void __launch_bounds__(tile_threads, 4)
    max_pool_kernel(T* __restrict__ y,                 // [N,OH,OW,C]
                    std::uint8_t* __restrict__ index,  // [N,OH,OW,C]
                    const T* __restrict__ x,           // [N,H,W,C]
                    ChannelTiles tiles, PoolShape shape) {
    for (int tile = blockIdx.x; tile < tiles.count(); tile += static_cast<int>(gridDim.x)) {
        const TilePlace<V> place(tiles, tile);
        for (int k = 0; k < place.count; ++k)
            pool_pixel<V>(shape, place.row(tiles, k), x + place.channel, y + place.channel,
                          index + place.channel, [](T value, int) { return to_float(value); });
    }
}

// dx[n][iy][ix][c] = sum of dy[n][oy][ox][c] where index[n][oy][ox][c] is the place of (iy, ix)
// Bytes: dy and index once from memory, dx once.
template <typename T, int V>
__global__ void __launch_bounds__(tile_threads, 2)
    max_pool_backward_kernel(T* __restrict__ dx,                      // [N,H,W,C]
                             const T* __restrict__ dy,                // [N,OH,OW,C]
                             const T* __restrict__ dy2,               // [N,OH,OW,C] or null
                             const std::uint8_t* __restrict__ index,  // [N,OH,OW,C]
                             ChannelTiles tiles, PoolShape shape) {
    for (int tile = blockIdx.x; tile < tiles.count(); tile += static_cast<int>(gridDim.x)) {
        const TilePlace<V> place(tiles, tile);
        for (int k = 0; k < place.count; ++k) {
            const std::int64_t row = place.row(tiles, k);
            float sum[V];
            gather_pixel<V>(shape, row, dy + place.channel, dy2 ? dy2 + place.channel : nullptr,
                            index + place.channel, sum);
            Pack<T, V> out;
#pragma unroll
            for (int c = 0; c < V; ++c) out.v[c] = from_float<T>(sum[c]);
            store_pack(dx + row * shape.channels + place.channel, out);
        }
    }
}

// Tiles whose slots are images.
ChannelTiles image_tiles(std::int64_t images, std::int64_t pixels, std::int64_t channels, int vector) {
    ChannelTiles tiles = channel_tiles(images * pixels, channels, vector);
    tiles.slot_rows = static_cast<int>(pixels);
    tiles.slots = static_cast<int>(images);
    return tiles;
}

// y[n][c] = sum over p of x[n][p][c], / pixels. Bytes: x once.
template <typename U, typename T, int V>
__global__ void __launch_bounds__(tile_threads, 2)
    global_average_pool_kernel(U* __restrict__ y,        // [N,C]
                               const T* __restrict__ x,  // [N,pixels,C]
                               ChannelTiles tiles) {
    for (int tile = blockIdx.x; tile < tiles.count(); tile += static_cast<int>(gridDim.x)) {
        const TilePlace<V> place(tiles, tile);
        float sum[1][V] = {};
        for_rows<2, false>(
            tiles, place, 0,
            [&](std::int64_t row) { return load_pack<V>(x + row * tiles.channels + place.channel); },
            [&](std::int64_t, const Pack<T, V>& loaded) {
#pragma unroll
                for (int k = 0; k < V; ++k) sum[0][k] += to_float(loaded.v[k]);
            });
        const TileSums<1> sums(tiles, place, sum);
        const float total = sums.sum(0);
        if (sums.writes)
            y[std::int64_t{place.slot} * tiles.channels + sums.channel] =
                from_float<U>(total / static_cast<float>(tiles.slot_rows));
    }
}

// dx[n][p][c] = dy[n][c] / pixels. Bytes: dx once, dy from the cache.
template <typename T, typename U, int V>
__global__ void __launch_bounds__(tile_threads, 4)
    global_average_pool_backward_kernel(T* __restrict__ dx,        // [N,pixels,C]
                                        const U* __restrict__ dy,  // [N,C]
                                        ChannelTiles tiles) {
    for (int tile = blockIdx.x; tile < tiles.count(); tile += static_cast<int>(gridDim.x)) {
        const TilePlace<V> place(tiles, tile);
        if (place.count == 0) continue;
        Pack<T, V> share;
#pragma unroll
        for (int k = 0; k < V; ++k)
            share.v[k] =
                from_float<T>(to_float(dy[std::int64_t{place.slot} * tiles.channels + place.channel + k]) /
                              static_cast<float>(tiles.slot_rows));
        for (int k = 0; k < place.count; ++k)
            store_pack(dx + place.row(tiles, k) * tiles.channels + place.channel, share);
    }
}

}  // namespace

template <typename T>
void max_pool(T* y, std::uint8_t* index, const T* x, const PoolShape& shape, cudaStream_t stream) {
    with_vector<T>(shape.channels, [&]<int V>() {
        const ChannelTiles tiles =
            channel_tiles(shape.images * shape.out_height * shape.out_width, shape.channels, V);
        launch("max_pool", max_pool_kernel<T, V>, tile_grid(tiles.count()), stream, y, index, x, tiles,
               shape);
    });
}

template <typename T>
void max_pool_backward(T* dx, const T* dy, const T* dy2, const std::uint8_t* index, const PoolShape& shape,
                       cudaStream_t stream) {
    with_vector<T>(shape.channels, [&]<int V>() {
        const ChannelTiles tiles =
            channel_tiles(shape.images * shape.height * shape.width, shape.channels, V);
        launch("max_pool_backward", max_pool_backward_kernel<T, V>, tile_grid(tiles.count()), stream, dx, dy,
               dy2, index, tiles, shape);
    });
}

template <typename U, typename T>
void global_average_pool(U* y, const T* x, std::int64_t images, std::int64_t pixels, std::int64_t channels,
                         cudaStream_t stream) {
    with_vector<T>(channels, [&]<int V>() {
        const ChannelTiles tiles = image_tiles(images, pixels, channels, V);
        launch("global_average_pool", global_average_pool_kernel<U, T, V>, tile_grid(tiles.count()), stream,
               y, x, tiles);
    });
}

template <typename T, typename U>
void global_average_pool_backward(T* dx, const U* dy, std::int64_t images, std::int64_t pixels,
                                  std::int64_t channels, cudaStream_t stream) {
    with_vector<T>(channels, [&]<int V>() {
        const ChannelTiles tiles = image_tiles(images, pixels, channels, V);
        launch("global_average_pool_backward", global_average_pool_backward_kernel<T, U, V>,
               tile_grid(tiles.count()), stream, dx, dy, tiles);
    });
}

#define ONECYCLE_INSTANTIATE(T)                                                                       \
    template void max_pool<T>(T*, std::uint8_t*, const T*, const PoolShape&, cudaStream_t);           \
    template void max_pool_backward<T>(T*, const T*, const T*, const std::uint8_t*, const PoolShape&, \
                                       cudaStream_t);
ONECYCLE_INSTANTIATE(float)
ONECYCLE_INSTANTIATE(bf16)
ONECYCLE_INSTANTIATE(f16)

#define ONECYCLE_INSTANTIATE_AVERAGE(T, U)                                                                   \
    template void global_average_pool<U, T>(U*, const T*, std::int64_t, std::int64_t, std::int64_t,          \
                                            cudaStream_t);                                                   \
    template void global_average_pool_backward<T, U>(T*, const U*, std::int64_t, std::int64_t, std::int64_t, \
                                                     cudaStream_t);
ONECYCLE_INSTANTIATE_AVERAGE(float, float)
ONECYCLE_INSTANTIATE_AVERAGE(bf16, bf16)
ONECYCLE_INSTANTIATE_AVERAGE(bf16, float)
ONECYCLE_INSTANTIATE_AVERAGE(f16, f16)
ONECYCLE_INSTANTIATE_AVERAGE(f16, float)

}  // namespace onecycle::ONECYCLE_CUDA
