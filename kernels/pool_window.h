// Windows of max pooling over activations [N,H,W,C], shared by pool.cu and batch_norm_max_pool.cu.
//
// Forward keeps the place of the maximum in its window as one byte (row * kernel + column), so that
// backward needs neither x nor y. As in PyTorch the first maximum wins and NaN wins over all.
// Backward gathers: each pixel of x sums over the windows it lies in, in order: no atomics.
#pragma once

#include "kernels/channel_tiles.h"
#include "kernels/pool.h"

namespace onecycle::ONECYCLE_CUDA {

struct Pixel {
    std::int64_t image;
    int y, x;
};
// Rows are fewer than 2^31: the makers of the operations see to it.
__device__ inline Pixel pixel_of(std::int64_t row, int height, int width) {
    const auto r = static_cast<std::uint32_t>(row), w = static_cast<std::uint32_t>(width),
               h = static_cast<std::uint32_t>(height);
    const std::uint32_t line = r / w;
    return {line / h, static_cast<int>(line % h), static_cast<int>(r % w)};
}

// y and index of one pixel of y, V channels. x and y stand at the thread's channels; value(x, k) is
// what is pooled of channel k. 3 pixels of x are in flight at once: a row of the usual window.
template <int V, typename T, typename F>
__device__ void pool_pixel(const PoolShape& s, std::int64_t row, const T* x,  // [N,H,W,C]
                           T* y,                                              // [N,OH,OW,C]
                           std::uint8_t* index,                               // [N,OH,OW,C]
                           F value) {
    const Pixel p = pixel_of(row, s.out_height, s.out_width);
    const int top = p.y * s.stride - s.padding, left = p.x * s.stride - s.padding;
    const int y0 = top < 0 ? 0 : top, y1 = top + s.kernel < s.height ? top + s.kernel : s.height;
    const int x0 = left < 0 ? 0 : left, x1 = left + s.kernel < s.width ? left + s.kernel : s.width;
    float best[V];
    int place[V];
#pragma unroll
    for (int k = 0; k < V; ++k) {
        best[k] = -INFINITY;
        place[k] = (y0 - top) * s.kernel + x0 - left;  // the first pixel, also when all are -inf
    }
    constexpr int at_once = 3;
    for (int iy = y0; iy < y1; ++iy)
        for (int begin = x0; begin < x1; begin += at_once) {
            const T* const from = x + ((p.image * s.height + iy) * s.width + begin) * s.channels;
            Pack<T, V> loaded[at_once];
#pragma unroll
            for (int u = 0; u < at_once; ++u)
                if (begin + u < x1) loaded[u] = load_pack<V>(from + std::int64_t{u} * s.channels);
#pragma unroll
            for (int u = 0; u < at_once; ++u) {
                if (begin + u >= x1) continue;
                const int here = (iy - top) * s.kernel + begin + u - left;
#pragma unroll
                for (int k = 0; k < V; ++k) {
                    const float v = value(loaded[u].v[k], k);
                    const bool wins = v > best[k] || v != v;
                    best[k] = wins ? v : best[k];
                    place[k] = wins ? here : place[k];
                }
            }
        }
    Pack<T, V> out;
    Pack<std::uint8_t, V> places;
#pragma unroll
    for (int k = 0; k < V; ++k) {
        out.v[k] = from_float<T>(best[k]);
        places.v[k] = static_cast<std::uint8_t>(place[k]);
    }
    store_pack(y + row * s.channels, out);
    store_pack(index + row * s.channels, places);
}

// The gradient of one pixel of x, V channels: the sum of dy [+ dy2] over the windows whose maximum
// it was. Pointers stand at the thread's channels. 2 windows are in flight at once: as many as lie
// side by side over a pixel when the stride is at least half of the kernel.
template <int V, typename T>
__device__ __forceinline__ void gather_pixel(const PoolShape& s, std::int64_t row,
                                             const T* dy,                // [N,OH,OW,C]
                                             const T* dy2,               // [N,OH,OW,C] or null
                                             const std::uint8_t* index,  // [N,OH,OW,C]
                                             float (&sum)[V]) {
    const Pixel p = pixel_of(row, s.height, s.width);
    const int below = p.y + s.padding, right = p.x + s.padding;
    const int low_y = below - s.kernel + 1, low_x = right - s.kernel + 1;
    const int y0 = low_y <= 0 ? 0 : (low_y + s.stride - 1) / s.stride;
    const int x0 = low_x <= 0 ? 0 : (low_x + s.stride - 1) / s.stride;
    const int last_y = below / s.stride, last_x = right / s.stride;
    const int y1 = last_y < s.out_height ? last_y + 1 : s.out_height;
    const int x1 = last_x < s.out_width ? last_x + 1 : s.out_width;
#pragma unroll
    for (int k = 0; k < V; ++k) sum[k] = 0;
    constexpr int at_once = 2;
#pragma unroll 1
    for (int oy = y0; oy < y1; ++oy)
#pragma unroll 1
        for (int begin = x0; begin < x1; begin += at_once) {
            Pack<T, V> gradient[at_once], second[at_once];
            Pack<std::uint8_t, V> places[at_once];
            // Past the end the first one again, and dy where there is no dy2, from L1: a vector
            // loaded in a branch takes a register an element.
#pragma unroll
            for (int u = 0; u < at_once; ++u) {
                const int ox = begin + u < x1 ? begin + u : begin;
                const std::int64_t at = ((p.image * s.out_height + oy) * s.out_width + ox) * s.channels;
                gradient[u] = load_pack<V>(dy + at);
                second[u] = load_pack<V>((dy2 ? dy2 : dy) + at);
                places[u] = load_pack<V>(index + at);
            }
#pragma unroll
            for (int u = 0; u < at_once; ++u) {
                const int ox = begin + u;
                if (ox >= x1) continue;
                const int here = (below - oy * s.stride) * s.kernel + right - ox * s.stride;
#pragma unroll
                for (int k = 0; k < V; ++k)
                    if (places[u].v[k] == here) {
                        const float first = to_float(gradient[u].v[k]);
                        sum[k] += dy2 ? first + to_float(second[u].v[k]) : first;
                    }
            }
        }
}

}  // namespace onecycle::ONECYCLE_CUDA
