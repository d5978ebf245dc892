// Weight gradients by Winograd's algorithm:
//   V[point][i block][tile][i] = transformed x,  D[point][o block][tile][o] = transformed dy
//   M[point][i][o] = sum over tiles of V[point][tile][i] * D[point][tile][o]: 36 matrix products
//   dw             = M transformed back
// Images are taken in chunks, so that V and D stay small; a block of M is summed by one thread,
// tile after tile, whatever the number of threads.
#include <algorithm>

#include "ops/cpu/conv2d_winograd.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/winograd.h"

namespace onecycle::cpu {

namespace {

using namespace winograd;

struct Plan {
    Tiles tiles;
    int block;
    std::int64_t inputs, outputs, plane;
    std::int64_t chunk;  // images
};

// The transformed tiles of one block of channels of images [first, first + count):
// to[point][tile][block].
template <int block>
ONECYCLE_INLINE void transform_x(const Plan& plan, const float* x, std::int64_t i, Range images, float* to,
                                 std::int64_t point_stride) {
    const Tiles tiles = plan.tiles;
    for (std::int64_t n = images.begin; n < images.end; ++n)
        for (std::int64_t row = 0; row < tiles.rows; ++row)
            for (std::int64_t column = 0; column < tiles.columns; ++column, to += block)
                transform_input<block>(tiles, x + (n * plan.inputs + i) * plan.plane, row, column, to,
                                       point_stride);
}

template <int block>
ONECYCLE_INLINE void transform_dy(const Plan& plan, const float* dy, std::int64_t o, Range images, float* to,
                                  std::int64_t point_stride) {
    using V = typename Vector<block>::type;
    const Tiles tiles = plan.tiles;
    for (std::int64_t n = images.begin; n < images.end; ++n)
        for (std::int64_t row = 0; row < tiles.rows; ++row)
            for (std::int64_t column = 0; column < tiles.columns; ++column, to += block) {
                const float* const plane = dy + (n * plan.outputs + o) * plan.plane;
                V d[tile * tile], half[window * tile], all[window];
                for (int r = 0; r < tile; ++r)
                    for (int c = 0; c < tile; ++c) {
                        const std::int64_t y = row * tile + r, x = column * tile + c;
                        const bool real = y < tiles.height && x < tiles.width;
                        d[r * tile + c] = real ? load<block>(plane + (y * tiles.width + x) * block) : V{};
                    }
                for (int c = 0; c < tile; ++c) output_gradient_1d(d + c, half + c, tile);
                for (int r = 0; r < window; ++r) {
                    output_gradient_1d(half + r * tile, all, 1);
                    for (int c = 0; c < window; ++c)
                        store<block>(to + (r * window + c) * point_stride, all[c]);
                }
            }
}

// m [i][o] += sum over tiles of v [tile][i] * d [tile][o]
template <int block>
ONECYCLE_INLINE void accumulate(const float* v, const float* d, std::int64_t tiles, bool start, float* m) {
    using V = typename Vector<block>::type;
    V sum[block];
    for (int i = 0; i < block; ++i) sum[i] = start ? V{} : load<block>(m + i * block);
    for (std::int64_t t = 0; t < tiles; ++t) {
        const V gradient = load<block>(d + t * block);
        for (int i = 0; i < block; ++i) sum[i] += gradient * v[t * block + i];
    }
    for (int i = 0; i < block; ++i) store<block>(m + i * block, sum[i]);
}

// m [point][i][o], points `stride` apart, to dw [ky][kx][i][o]
template <int block>
ONECYCLE_INLINE void transform_back(const float* m, std::int64_t stride, float* dw) {
    using V = typename Vector<block>::type;
    for (int i = 0; i < block; ++i) {
        V all[points], half[3 * window], out[3];
        for (int p = 0; p < points; ++p) all[p] = load<block>(m + p * stride + i * block);
        for (int c = 0; c < window; ++c) weight_gradient_1d(all + c, half + c, window);
        for (int r = 0; r < 3; ++r) {
            weight_gradient_1d(half + r * window, out, 1);
            for (int c = 0; c < 3; ++c) store<block>(dw + ((r * 3 + c) * block + i) * block, out[c]);
        }
    }
}

ONECYCLE_CLONES
void transform_block(const Plan& plan, bool is_x, const float* from, std::int64_t b, Range images, float* to,
                     std::int64_t point_stride) {
    if (plan.block == 16)
        is_x ? transform_x<16>(plan, from, b, images, to, point_stride)
             : transform_dy<16>(plan, from, b, images, to, point_stride);
    else
        is_x ? transform_x<8>(plan, from, b, images, to, point_stride)
             : transform_dy<8>(plan, from, b, images, to, point_stride);
}

ONECYCLE_CLONES
void accumulate_block(int block, const float* v, const float* d, std::int64_t tiles, bool start, float* m) {
    block == 16 ? accumulate<16>(v, d, tiles, start, m) : accumulate<8>(v, d, tiles, start, m);
}

ONECYCLE_CLONES
void transform_block_back(int block, const float* m, std::int64_t stride, float* dw) {
    block == 16 ? transform_back<16>(m, stride, dw) : transform_back<8>(m, stride, dw);
}

}  // namespace

BuiltOp make_winograd_weight_gradient(const OpDesc& desc, const Context& context) {
    const TensorDesc &dy = desc.inputs[0], &x = desc.inputs[1];
    const int block = dy.layout == Layout::nChw16c ? 16 : 8;
    Plan plan{.tiles = Tiles(x),
              .block = block,
              .inputs = x[1] / block,
              .outputs = dy[1] / block,
              .plane = x[2] * x[3] * block,
              .chunk = 1};
    // V and D of a chunk stay in the caches, but are not smaller than M, which every chunk reads
    // and writes.
    const std::int64_t most_floats =
        std::max<std::int64_t>(1 << 20, points * plan.inputs * plan.outputs * block * block);
    const std::int64_t image_floats = points * (plan.inputs + plan.outputs) * plan.tiles.of_image() * block;
    plan.chunk = std::clamp<std::int64_t>(most_floats / image_floats, 1, plan.tiles.images);

    const std::int64_t blocks = plan.inputs + plan.outputs, weights = plan.inputs * plan.outputs;
    // One cache line more than the data between blocks, or points would fall into the same cache
    // sets.
    const std::int64_t run = plan.chunk * plan.tiles.of_image() * block + 16, point = blocks * run;
    const std::int64_t m_block = block * block, m_point = weights * m_block;
    const std::size_t transformed = aligned(static_cast<std::size_t>(points * point) * sizeof(float));
    BuiltOp made = op_from(
        desc, transformed + static_cast<std::size_t>(points * m_point) * sizeof(float),
        [=, threads = context.threads](void* const* in, void* const* out, void* workspace) {
            float* const v = floats_out(workspace);
            float* const m = reinterpret_cast<float*>(static_cast<std::byte*>(workspace) + transformed);
            for (std::int64_t first = 0; first < plan.tiles.images; first += plan.chunk) {
                const Range images{first, std::min(plan.tiles.images, first + plan.chunk)};
                const std::int64_t tiles = (images.end - images.begin) * plan.tiles.of_image();
                parallel_for(threads, blocks, [&](std::int64_t b) {
                    const bool is_x = b < plan.inputs;
                    transform_block(plan, is_x, floats(in[is_x ? 1 : 0]), is_x ? b : b - plan.inputs, images,
                                    v + b * run, point);
                });
                parallel_for(threads, points * weights, [&](std::int64_t k) {
                    const std::int64_t p = k / weights, o = k % weights / plan.inputs, i = k % plan.inputs;
                    accumulate_block(block, v + p * point + i * run, v + p * point + (plan.inputs + o) * run,
                                     tiles, first == 0, m + k * m_block);
                });
            }
            parallel_for(threads, weights, [&](std::int64_t k) {
                transform_block_back(block, m + k * m_block, m_point, floats_out(out[0]) + k * 9 * m_block);
            });
        });
    made.implementation = "own winograd";
    return made;
}

}  // namespace onecycle::cpu
