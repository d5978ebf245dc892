// Winograd's minimal filtering F(4x4, 3x3): sixteen outputs of a 3x3 convolution from 36 products
// instead of 144 (Lavin & Gray, "Fast algorithms for convolutional neural networks", CVPR 2016).
// For a 6x6 tile of the input and a 3x3 filter
//   y = A^T [ (G w G^T) .* (B^T x B) ] A,   dw = G^T [ (B^T x B) .* (A dy A^T) ] G.
// The matrices interpolate at 0, a, -a, b, -b and infinity. a = 5/8 and b = 3/2 keep all entries
// near 1: the result has about the error of direct float sums, 1e-6, where the textbook's 1 and 2
// lose another digit.
#pragma once

#include <cstdint>

#include "core/tensor.h"
#include "ops/cpu/channel_block.h"

namespace onecycle::cpu::winograd {

inline constexpr int tile = 4, window = 6, points = 36;
inline constexpr float a = 0.625f, b = 1.5f;
inline constexpr float a2 = a * a, b2 = b * b, a3 = a2 * a, b3 = b2 * b;

// One-dimensional transforms, from and to every `step`-th element.
// B^T: six of the input to six points.
template <typename V>
ONECYCLE_INLINE void input_1d(const V* x, V* to, int step) {
    const V &x0 = x[0], &x1 = x[step], &x2 = x[2 * step], &x3 = x[3 * step], &x4 = x[4 * step],
            &x5 = x[5 * step];
    const V even_a = x4 - b2 * x2, odd_a = a * (x3 - b2 * x1);
    const V even_b = x4 - a2 * x2, odd_b = b * (x3 - a2 * x1);
    const V first = (a2 * b2) * x0 - (a2 + b2) * x2 + x4, last = (a2 * b2) * x1 - (a2 + b2) * x3 + x5;
    to[0] = first;
    to[step] = even_a + odd_a;
    to[2 * step] = even_a - odd_a;
    to[3 * step] = even_b + odd_b;
    to[4 * step] = even_b - odd_b;
    to[5 * step] = last;
}

// A^T: six points to four outputs.
template <typename V>
ONECYCLE_INLINE void output_1d(const V* m, V* to, int step) {
    const V sum_a = m[step] + m[2 * step], difference_a = m[step] - m[2 * step];
    const V sum_b = m[3 * step] + m[4 * step], difference_b = m[3 * step] - m[4 * step];
    const V last = m[5 * step];
    to[0] = m[0] + sum_a + sum_b;
    to[step] = a * difference_a + b * difference_b;
    to[2 * step] = a2 * sum_a + b2 * sum_b;
    to[3 * step] = a3 * difference_a + b3 * difference_b + last;
}

// A: four gradients of outputs to six points.
template <typename V>
ONECYCLE_INLINE void output_gradient_1d(const V* d, V* to, int step) {
    const V d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];
    const V even_a = d0 + a2 * d2, odd_a = a * d1 + a3 * d3;
    const V even_b = d0 + b2 * d2, odd_b = b * d1 + b3 * d3;
    to[0] = d0;
    to[step] = even_a + odd_a;
    to[2 * step] = even_a - odd_a;
    to[3 * step] = even_b + odd_b;
    to[4 * step] = even_b - odd_b;
    to[5 * step] = d3;
}

// Products of the distances of a point to the others.
inline constexpr float at_0 = 1 / (a2 * b2), at_a = 1 / (2 * a2 * (a2 - b2)), at_b = 1 / (2 * b2 * (b2 - a2));

// G: three weights to six points.
template <typename V>
ONECYCLE_INLINE void weights_1d(const V* w, V* to, int step) {
    const V w0 = w[0], w1 = w[step], w2 = w[2 * step];
    const V even_a = at_a * (w0 + a2 * w2), odd_a = (at_a * a) * w1;
    const V even_b = at_b * (w0 + b2 * w2), odd_b = (at_b * b) * w1;
    to[0] = at_0 * w0;
    to[step] = even_a + odd_a;
    to[2 * step] = even_a - odd_a;
    to[3 * step] = even_b + odd_b;
    to[4 * step] = even_b - odd_b;
    to[5 * step] = w2;
}

// G^T: six points to three gradients of weights.
template <typename V>
ONECYCLE_INLINE void weight_gradient_1d(const V* m, V* to, int step) {
    const V sum_a = at_a * (m[step] + m[2 * step]), difference_a = at_a * (m[step] - m[2 * step]);
    const V sum_b = at_b * (m[3 * step] + m[4 * step]), difference_b = at_b * (m[3 * step] - m[4 * step]);
    const V last = m[5 * step];
    to[0] = at_0 * m[0] + sum_a + sum_b;
    to[step] = a * difference_a + b * difference_b;
    to[2 * step] = a2 * sum_a + b2 * sum_b + last;
}

// The tiles of a batch of planes: tile t covers outputs from 4*row, 4*column of its image.
struct Tiles {
    std::int64_t images, height, width, rows, columns;

    explicit Tiles(const TensorDesc& t)
        : images(t[0]), height(t[2]), width(t[3]), rows((t[2] + 3) / 4), columns((t[3] + 3) / 4) {}
    std::int64_t of_image() const { return rows * columns; }
    std::int64_t count() const { return images * of_image(); }
};

// The 6x6 inputs of a tile, zero outside of the plane, transformed: to[point * stride].
template <int block>
ONECYCLE_INLINE void transform_input(const Tiles& tiles, const float* plane, std::int64_t row,
                                     std::int64_t column, float* to, std::int64_t stride) {
    using V = typename Vector<block>::type;
    V d[points];
    const std::int64_t top = row * tile - 1, left = column * tile - 1;
    const bool inside = top >= 0 && left >= 0 && top + window <= tiles.height && left + window <= tiles.width;
    for (int r = 0; r < window; ++r)
        for (int c = 0; c < window; ++c) {
            const std::int64_t y = top + r, x = left + c;
            const bool real = inside || (y >= 0 && y < tiles.height && x >= 0 && x < tiles.width);
            d[r * window + c] = real ? load<block>(plane + (y * tiles.width + x) * block) : V{};
        }
    for (int c = 0; c < window; ++c) input_1d(d + c, d + c, window);
    for (int r = 0; r < window; ++r) {
        input_1d(d + r * window, d + r * window, 1);
        for (int c = 0; c < window; ++c) store<block>(to + (r * window + c) * stride, d[r * window + c]);
    }
}

}  // namespace onecycle::cpu::winograd
