// How batch norm and pooling walk an activation [rows, C] (nhwc: a row is one pixel), and their
// sums over rows.
//
// A thread keeps V neighbouring channels (16 bytes) for a whole kernel, so that what belongs to a
// channel stays in registers. 8 such threads, 128 bytes, lie side by side and 32 rows under each
// other: a block is a tile. A tile walks down its slot, a run of rows; its sums go to the slot's
// place in the workspace and are added up in the order of the slots. Slots follow from the shape
// alone, never from the GPU or the grid, and so do all results.
#pragma once

#include "kernels/cuda.h"

namespace onecycle::ONECYCLE_CUDA {

inline constexpr int tile_threads = 256;
inline constexpr int tile_channels = 64;  // at most

// V numbers, moved by one instruction. V = 1 serves channels that do not fill vectors.
template <typename T, int V>
struct alignas(sizeof(T) * V) Pack {
    T v[V];
};
template <int V, typename T>
__device__ __forceinline__ Pack<T, V> load_pack(const T* from) {
    return load_whole<Pack<T, V>>(from);
}
template <typename T, int V>
__device__ __forceinline__ void store_pack(T* to, const Pack<T, V>& value) {
    store_whole(to, value);
}

// Calls f.operator()<V>() with the V for so many channels of T.
template <typename T, typename F>
void with_vector(std::int64_t channels, F f) {
    if (channels % Vec<T>::size == 0) return f.template operator()<Vec<T>::size>();
    f.template operator()<1>();
}

struct ChannelTiles {
    std::int64_t rows;
    int channels;
    int width;   // threads side by side
    int lines;   // rows at once
    int chunks;  // tiles side by side
    int slots;   // tiles under each other
    int slot_rows;

    __host__ __device__ int count() const { return slots * chunks; }
};

// Some 528 tiles (4 a multiprocessor of 132) where there are rows enough. A thread takes at least 2
// rows, and at most 256: as many as may be added up in float.
inline ChannelTiles channel_tiles(std::int64_t rows, std::int64_t channels, int vector) {
    ChannelTiles t{};
    t.rows = rows;
    t.channels = static_cast<int>(channels);
    const int groups = t.channels / vector, most = vector == 1 ? 32 : 8;
    t.width = groups < most ? groups : most;
    t.lines = tile_threads / t.width;
    t.chunks = static_cast<int>(divide_up(groups, t.width));
    const std::int64_t passes = divide_up(divide_up(rows, divide_up(528, t.chunks)), t.lines);
    t.slot_rows = t.lines * static_cast<int>(passes < 2 ? 2 : passes > 256 ? 256 : passes);
    t.slots = static_cast<int>(divide_up(rows, t.slot_rows));
    return t;
}

inline LaunchShape tile_grid(int tiles) {
    return {static_cast<unsigned>(tiles < 8192 ? tiles : 8192), tile_threads};
}

// Where a thread stands in tile `tile`.
template <int V>
struct TilePlace {
    int slot, tile_channel, column, channel, line;
    std::int64_t slot_begin;  // row
    int slot_rows;            // of this slot: the last one may be short
    int count;                // rows of this thread: slot_begin + line, lines further, ...

    __device__ TilePlace(const ChannelTiles& t, int tile) {
        slot = tile / t.chunks;
        tile_channel = tile % t.chunks * t.width * V;
        column = static_cast<int>(threadIdx.x) % t.width * V;
        channel = tile_channel + column;
        line = static_cast<int>(threadIdx.x) / t.width;
        slot_begin = std::int64_t{slot} * t.slot_rows;
        const std::int64_t left = t.rows - slot_begin;
        slot_rows = left < t.slot_rows ? static_cast<int>(left) : t.slot_rows;
        const bool idle = line >= t.lines || line >= slot_rows || channel >= t.channels;
        count = idle ? 0 : (slot_rows - line - 1) / t.lines + 1;
    }
    __device__ std::int64_t row(const ChannelTiles& t, int k) const {
        return slot_begin + line + std::int64_t{k} * t.lines;
    }
};

// use(row, load(row)) for the thread's rows from `begin` on, `unroll` loads in flight at once.
// `backwards`: from the last row to the first, for a pass over what another has just read: the end
// of it is still in L2.
template <int unroll, bool backwards, int V, typename Load, typename Use>
__device__ __forceinline__ void for_rows(const ChannelTiles& t, const TilePlace<V>& place, int begin,
                                         Load load, Use use) {
    const auto row = [&](int k) { return place.row(t, backwards ? place.count - 1 - k : k); };
    int k = begin;
    for (; k + unroll <= place.count; k += unroll) {
        decltype(load(std::int64_t{})) loaded[unroll];
#pragma unroll
        for (int u = 0; u < unroll; ++u) loaded[u] = load(row(k + u));
#pragma unroll
        for (int u = 0; u < unroll; ++u) use(row(k + u), loaded[u]);
    }
    for (; k < place.count; ++k) use(row(k), load(row(k)));
}

// Sum over groups of `lanes` (a power of two) neighbouring lanes. All lanes of the warp must call.
template <typename R>
__device__ __forceinline__ R lanes_sum(R value, int lanes) {
    for (int other = lanes / 2; other > 0; other /= 2) value += __shfl_xor_sync(full_warp, value, other);
    return value;
}

// The sum of load(i), i < parts, by `lanes` lanes together.
template <typename R, typename Load>
__device__ R sum_parts(int parts, int lane, int lanes, Load load) {
    R sum = 0;
    for (int i = lane; i < parts; i += lanes) sum += load(i);
    return lanes_sum(sum, lanes);
}

// Count, mean, and sum of squared deviations from the mean, of some numbers.
template <typename R>
struct Moments {
    R count, mean, m2;
};

// Moments of the union of parts, by `lanes` lanes together. Sums are of deviations from the first
// part's mean, then from the common mean (Chan, Golub, LeVeque 1979): no large numbers are
// subtracted.
template <typename R, typename Load>
__device__ Moments<R> combine_moments(int parts, int lane, int lanes, Load load) {
    const R origin = load(0).mean;
    R count = 0, sum = 0, m2 = 0;
    for (int i = lane; i < parts; i += lanes) {
        const Moments<R> part = load(i);
        count += part.count;
        sum += part.count * (part.mean - origin);
    }
    count = lanes_sum(count, lanes);
    const R mean = origin + lanes_sum(sum, lanes) / count;
    for (int i = lane; i < parts; i += lanes) {
        const Moments<R> part = load(i);
        const R away = part.mean - mean;
        m2 += part.m2 + part.count * away * away;
    }
    return {count, mean, lanes_sum(m2, lanes)};
}

// What the threads of a tile have summed, by [line][column] in shared memory, to be added up over
// the lines. Several lanes share a column.
template <int quantities>
struct TileSums {
    static constexpr int room = 2560;  // floats a quantity: the most that any width needs is 2448
    float* at;
    int stride, lane, lanes, column, channel, parts;
    bool writes;  // this thread has the result of a column

    // All threads of the block must come by.
    template <int V>
    __device__ TileSums(const ChannelTiles& t, const TilePlace<V>& place,
                        const float (&sums)[quantities][V]) {
        ONECYCLE_SHARED(float, shared, quantities* room);
        const int columns = t.width * V;
        for (lanes = warp_lanes; lanes * columns > tile_threads;) lanes /= 2;
        stride = columns + warp_lanes / lanes;  // neighbouring lanes and columns meet in no bank
        at = shared;
        __syncthreads();  // the tile before may still be read
        if (place.count > 0)
#pragma unroll
            for (int q = 0; q < quantities; ++q)
#pragma unroll
                for (int k = 0; k < V; ++k)
                    at[q * room + place.line * stride + place.column + k] = sums[q][k];
        __syncthreads();
        lane = static_cast<int>(threadIdx.x) % lanes;
        column = static_cast<int>(threadIdx.x) / lanes;
        parts = place.slot_rows < t.lines ? place.slot_rows : t.lines;
        writes = lane == 0 && column < columns && place.tile_channel + column < t.channels;
        if (column >= columns || place.tile_channel + column >= t.channels) column = 0;
        channel = place.tile_channel + column;
    }
    __device__ float get(int quantity, int line) const {
        return at[quantity * room + line * stride + column];
    }
    __device__ float sum(int quantity) const {
        return sum_parts<float>(parts, lane, lanes, [&](int line) { return get(quantity, line); });
    }
};

// Values that belong to a channel: f(channel, values) is called once for each channel of the tile,
// and each thread gets those of its V channels. All threads of the block must call.
template <int values, int V, typename F>
__device__ __forceinline__ void channel_values(const ChannelTiles& t, const TilePlace<V>& place,
                                               float (&of_thread)[values][V], F f) {
    ONECYCLE_SHARED(float, shared, values* tile_channels);
    __syncthreads();  // the tile before may still be read
    const int mine = static_cast<int>(threadIdx.x);
    if (mine < t.width * V && place.tile_channel + mine < t.channels) {
        float one[values];
        f(place.tile_channel + mine, one);
        for (int i = 0; i < values; ++i) shared[i * tile_channels + mine] = one[i];
    }
    __syncthreads();
    const bool inside = place.channel < t.channels;
#pragma unroll
    for (int i = 0; i < values; ++i)
#pragma unroll
        for (int k = 0; k < V; ++k)
            of_thread[i][k] = inside ? shared[i * tile_channels + place.column + k] : 0.0f;
}

}  // namespace onecycle::ONECYCLE_CUDA
