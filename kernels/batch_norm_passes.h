// What the batch-norm kernels share: the passes over memory and how they are launched, the
// statistics, and the normalization itself.
#pragma once

#include "kernels/batch_norm.h"
#include "kernels/channel_tiles.h"
#include "rules/norm_rules.h"

namespace onecycle::ONECYCLE_CUDA {

// A batch norm is a reduction over rows by tiles (each writes its slot), the finish of each channel
// by a warp, and a second pass by tiles that applies the result. A `Pass` has `reduce`, `finish`
// and `apply`; `First` is the base with the first two. They run either as three kernels, or, where
// what both passes read fits in L2, as one cooperative grid with two grid barriers: two launches
// less, the same bits. Such a grid must fit at once. The GPU is asked how many blocks do: tools and
// modes that keep registers, shared memory or multiprocessors for themselves leave less room than
// __launch_bounds__ promise. `reduce_blocks`, `apply_blocks`: how many shall fit in the kernels of
// one pass, 4 or 2, so that the 528 tiles of a large tensor are one or two whole waves.
template <typename Pass>
__device__ void reduce_tiles(const Pass& pass) {
    for (int tile = blockIdx.x; tile < pass.reduce_tiles(); tile += static_cast<int>(gridDim.x))
        pass.reduce(tile);
}
template <typename Pass>
__device__ void finish_channels(const Pass& pass) {
    constexpr int warps = tile_threads / warp_lanes;
    const int warp = static_cast<int>(blockIdx.x) * warps + static_cast<int>(threadIdx.x) / warp_lanes;
    for (int c = warp; c < pass.finish_channels(); c += static_cast<int>(gridDim.x) * warps)
        pass.finish(c, static_cast<int>(threadIdx.x) % warp_lanes);
}
template <typename Pass>
__device__ void apply_tiles(const Pass& pass) {
    for (int tile = blockIdx.x; tile < pass.apply_tiles(); tile += static_cast<int>(gridDim.x))
        pass.apply(tile);
}

template <typename Pass>
__global__ void __launch_bounds__(tile_threads, Pass::reduce_blocks) reduce_kernel(const Pass pass) {
    reduce_tiles(pass);
}
template <typename Pass>
__global__ void __launch_bounds__(tile_threads, 2) finish_kernel(const Pass pass) {
    finish_channels(pass);
}
template <typename Pass>
__global__ void __launch_bounds__(tile_threads, Pass::apply_blocks) apply_kernel(const Pass pass) {
    apply_tiles(pass);
}
template <typename Pass>
__global__ void __launch_bounds__(tile_threads, 2) one_grid_kernel(const Pass pass) {
    reduce_tiles(pass);
    sync_grid();
    finish_channels(pass);
    sync_grid();
    apply_tiles(pass);
}

// Names of the kernels, for messages and profiles.
struct PassNames {
    const char *reduce, *finish, *apply, *one_grid = "";
};

// The first two kernels.
template <typename First>
void run_reduction(const PassNames& names, const First& first, cudaStream_t stream) {
    const auto finish_blocks = divide_up(first.finish_channels(), tile_threads / warp_lanes);
    launch(names.reduce, reduce_kernel<First>, tile_grid(first.reduce_tiles()), stream, first);
    launch(names.finish, finish_kernel<First>, tile_grid(static_cast<int>(finish_blocks)), stream, first);
}

template <typename Pass>
void run_three_kernels(const PassNames& names, const Pass& pass, cudaStream_t stream) {
    run_reduction<typename Pass::First>(names, pass, stream);
    launch(names.apply, apply_kernel<Pass>, tile_grid(pass.apply_tiles()), stream, pass);
}

// One kernel where the shape says so and a block of it fits a multiprocessor, else three.
template <typename Pass>
void run_passes(const PassNames& names, const Pass& pass, const BatchNormShape& norm, cudaStream_t stream) {
    int fitting = 0;  // blocks
    if (norm.one_grid_multiprocessors > 0)
        fitting = norm.one_grid_multiprocessors *
                  resident_blocks(names.one_grid, one_grid_kernel<Pass>, tile_threads);
    if (fitting == 0) return run_three_kernels(names, pass, stream);
    const int tiles = pass.reduce_tiles() > pass.apply_tiles() ? pass.reduce_tiles() : pass.apply_tiles();
    LaunchShape shape = tile_grid(tiles < fitting ? tiles : fitting);
    shape.cooperative = true;
    launch(names.one_grid, one_grid_kernel<Pass>, shape, stream, pass);
}

// What is stored as bn(x) = x scale + shift (norm_rules.h), rounded once (fma), before the ReLU: it
// is the stored number that counts as positive or not, and that is compared in a pool, so that
// fused and separate kernels agree.
template <typename T>
__device__ __forceinline__ float normalized(T x, float scale, float shift) {
    return to_float(from_float<T>(fmaf(to_float(x), scale, shift)));
}

// NaN stays.
__device__ __forceinline__ float positive_part(float x) {
    return x <= 0 ? 0.0f : x;
}

// First pass of forward: count, mean and m2 of each slot and channel of one or two tensors; then
// mean and biased variance over all slots. A thread's sums are of x - first, its first row's x, so
// that neither a large mean nor an outlier elsewhere costs digits; they become mean and m2 at once
// and are combined as such, over slots in double.
//   mean = sum(x) / rows;  variance = sum((x - mean)^2) / rows
// Reads x once.
template <typename T, int V>
struct Statistics {
    using First = Statistics;
    static constexpr int reduce_blocks = 4;
    ChannelTiles tiles;
    int tensors;         // 1 or 2
    const T* x[2];       // [rows, C]
    float* mean[2];      // [C]
    float* variance[2];  // [C]
    float* slots;        // [tensors, slots, 2, C]: mean, m2

    __host__ __device__ int reduce_tiles() const { return tensors * tiles.count(); }
    __host__ __device__ int finish_channels() const { return tensors * tiles.channels; }
    static std::size_t workspace_bytes(const ChannelTiles& t, int tensors) {
        return sizeof(float) * 2 * static_cast<std::size_t>(tensors) * static_cast<std::size_t>(t.slots) *
               static_cast<std::size_t>(t.channels);
    }

    __device__ float* slot(int tensor, int i) const {
        return slots + (std::int64_t{tensor} * tiles.slots + i) * 2 * tiles.channels;
    }

    __device__ void reduce(int tile) const {
        const int tensor = tile / tiles.count();
        const TilePlace<V> place(tiles, tile % tiles.count());
        const T* const from = (tensor == 0 ? x[0] : x[1]) + place.channel;
        float first[V] = {}, moments[2][V] = {};  // sum and sum of squares, then mean and m2
        if (place.count > 0) {
            const Pack<T, V> values = load_pack<V>(from + place.row(tiles, 0) * tiles.channels);
#pragma unroll
            for (int k = 0; k < V; ++k) first[k] = to_float(values.v[k]);
        }
        for_rows<4, false>(
            tiles, place, 1, [&](std::int64_t row) { return load_pack<V>(from + row * tiles.channels); },
            [&](std::int64_t, const Pack<T, V>& values) {
#pragma unroll
                for (int k = 0; k < V; ++k) {
                    const float d = to_float(values.v[k]) - first[k];
                    moments[0][k] += d;
                    moments[1][k] = fmaf(d, d, moments[1][k]);
                }
            });
        const float n = static_cast<float>(place.count > 0 ? place.count : 1);
#pragma unroll
        for (int k = 0; k < V; ++k) {
            const float away = moments[0][k] / n, m2 = moments[1][k] - moments[0][k] * away;
            moments[0][k] = first[k] + away;
            moments[1][k] = m2 < 0 ? 0 : m2;
        }
        const TileSums<2> sums(tiles, place, moments);
        const int whole = place.slot_rows / tiles.lines, longer = place.slot_rows % tiles.lines;
        const Moments<float> of_tile =
            combine_moments<float>(sums.parts, sums.lane, sums.lanes, [&](int line) {
                return Moments<float>{static_cast<float>(whole + (line < longer)), sums.get(0, line),
                                      sums.get(1, line)};
            });
        if (!sums.writes) return;
        float* const to = slot(tensor, place.slot) + sums.channel;
        to[0] = of_tile.mean;
        to[tiles.channels] = of_tile.m2;
    }

    __device__ void finish(int channel_of_all, int lane) const {
        const int tensor = channel_of_all / tiles.channels, c = channel_of_all % tiles.channels;
        const Moments<double> all = combine_moments<double>(tiles.slots, lane, warp_lanes, [&](int i) {
            const std::int64_t left = tiles.rows - std::int64_t{i} * tiles.slot_rows;
            const float* const from = slot(tensor, i) + c;
            return Moments<double>{static_cast<double>(left < tiles.slot_rows ? left : tiles.slot_rows),
                                   static_cast<double>(from[0]), static_cast<double>(from[tiles.channels])};
        });
        if (lane != 0) return;
        (tensor == 0 ? mean[0] : mean[1])[c] = static_cast<float>(all.mean);
        (tensor == 0 ? variance[0] : variance[1])[c] = static_cast<float>(all.m2 / all.count);
    }
};

}  // namespace onecycle::ONECYCLE_CUDA
