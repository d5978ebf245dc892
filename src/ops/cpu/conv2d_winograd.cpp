// Forward and backward data by Winograd's algorithm; backward data is forward with the filters turned around
// and their two channel dimensions swapped. Work on a range of tiles:
//   V[point][tile][i]  = transformed input
//   M[point][tile][o]  = sum over i of V[point][tile][i] * U[point][i][o]: 36 matrix products
//   y                  = M transformed back
// V and M of a range stay in the thread's cache; U, the transformed weights, is made once per run. Each
// output is summed over i in one order wherever the cuts between ranges and threads are.
#include "ops/cpu/conv2d_winograd.h"

#include "ops/cpu/parallel.h"
#include "ops/cpu/winograd.h"

namespace onecycle::cpu {

namespace {

using namespace winograd;

struct Plan {
    Tiles tiles;
    int block;
    std::int64_t inputs, outputs;  // blocks of channels
    std::int64_t plane;            // floats of one block
    bool turned;                   // backward data: w is [inputs][outputs] with the window reversed

    std::int64_t block_floats() const { return block * block; }
    std::int64_t u_point() const { return inputs * outputs * block_floats(); }
};

// The transformed weights of one block of outputs and one of inputs, U[point][o block][i block][i][o].
template <int block>
ONECYCLE_INLINE void transform_weights(const Plan& plan, const float* w, std::int64_t o, std::int64_t i,
                                       float* u) {
    using V = typename Vector<block>::type;
    constexpr int floats_of_block = block * block;
    float turned[9 * floats_of_block];
    const float* from = w + (o * plan.inputs + i) * 9 * floats_of_block;
    if (plan.turned) {
        const float* const stored = w + (i * plan.outputs + o) * 9 * floats_of_block;
        for (int tap = 0; tap < 9; ++tap)
            for (int r = 0; r < block; ++r)
                for (int c = 0; c < block; ++c)
                    turned[(tap * block + c) * block + r] = stored[((8 - tap) * block + r) * block + c];
        from = turned;
    }
    float* const to = u + (o * plan.inputs + i) * floats_of_block;
    for (int lane = 0; lane < block; ++lane) {
        V g[9], half[window * 3], all[points];
        for (int tap = 0; tap < 9; ++tap) g[tap] = load<block>(from + (tap * block + lane) * block);
        for (int c = 0; c < 3; ++c) weights_1d(g + c, half + c, 3);
        for (int r = 0; r < window; ++r) weights_1d(half + r * 3, all + r * window, 1);
        for (int p = 0; p < points; ++p) store<block>(to + p * plan.u_point() + lane * block, all[p]);
    }
}

ONECYCLE_CLONES
void transform_weights_of(const Plan& plan, const float* w, std::int64_t o, std::int64_t i, float* u) {
    plan.block == 16 ? transform_weights<16>(plan, w, o, i, u) : transform_weights<8>(plan, w, o, i, u);
}

// M of `rows` tiles and `vectors` blocks of outputs at one point.
template <int block, int rows, int vectors>
ONECYCLE_INLINE void multiply(const float* v, std::int64_t v_stride, const float* u, std::int64_t u_stride,
                              std::int64_t inputs, float* m, std::int64_t m_stride) {
    using V = typename Vector<block>::type;
    V sum[rows][vectors] = {};
    for (std::int64_t ib = 0; ib < inputs; ++ib)
        for (int i = 0; i < block; ++i) {
            const float* const scalars = v + ib * v_stride + i;
            const float* const weights = u + (ib * block + i) * block;
            for (int r = 0; r < rows; ++r)
                for (int k = 0; k < vectors; ++k)
                    sum[r][k] += load<block>(weights + k * u_stride) * scalars[r * block];
        }
    for (int r = 0; r < rows; ++r)
        for (int k = 0; k < vectors; ++k) store<block>(m + k * m_stride + r * block, sum[r][k]);
}

// As many tiles at a time as leave registers for the sums: 12 x 2 with AVX-512, 6 x 2 with AVX2.
template <int block, int vectors>
ONECYCLE_INLINE void multiply_tiles(const float* v, std::int64_t v_stride, const float* u,
                                    std::int64_t u_stride, std::int64_t inputs, float* m,
                                    std::int64_t m_stride, std::int64_t count) {
    constexpr int most = block == 16 ? 12 : 6;
    std::int64_t t = 0;
    const auto rest = [&]<int rows>() __attribute__((always_inline)) {
        for (; t + rows <= count; t += rows)
            multiply<block, rows, vectors>(v + t * block, v_stride, u, u_stride, inputs, m + t * block,
                                           m_stride);
    };
    rest.template operator()<most>();
    if constexpr (block == 16) rest.template operator()<8>();
    rest.template operator()<4>();
    rest.template operator()<2>();
    rest.template operator()<1>();
}

// Points lie one cache line further apart than their data, or all would fall into the same cache sets.
std::int64_t point_stride(std::int64_t blocks, std::int64_t tiles, int block) {
    return (blocks * tiles) * block + 16;
}

// y of tiles [range) and blocks of outputs [os). `work` holds V and M.
template <int block>
ONECYCLE_INLINE void convolve(const Plan& plan, const float* x, const float* u, float* y, Range range,
                              Range os, float* work) {
    using V = typename Vector<block>::type;
    const Tiles tiles = plan.tiles;
    const std::int64_t count = range.end - range.begin, inputs = plan.inputs, outputs = os.end - os.begin;
    const std::int64_t v_block = count * block, v_point = point_stride(inputs, count, block);
    const std::int64_t m_point = point_stride(outputs, count, block), u_block = inputs * block * block;
    float* const m = work + points * v_point;
    const std::int64_t plane = plan.plane, of_image = tiles.of_image();

    for (std::int64_t i = 0; i < inputs; ++i)
        for (std::int64_t t = 0; t < count; ++t) {
            const std::int64_t image = (range.begin + t) / of_image, place = (range.begin + t) % of_image;
            transform_input<block>(tiles, x + (image * inputs + i) * plane, place / tiles.columns,
                                   place % tiles.columns, work + i * v_block + t * block, v_point);
        }
    for (int p = 0; p < points; ++p) {
        const float* const v = work + p * v_point;
        const float* const weights = u + p * plan.u_point() + os.begin * u_block;
        float* const to = m + p * m_point;
        std::int64_t o = 0;
        for (; o + 2 <= outputs; o += 2)
            multiply_tiles<block, 2>(v, v_block, weights + o * u_block, u_block, inputs, to + o * v_block,
                                     v_block, count);
        if (o < outputs)
            multiply_tiles<block, 1>(v, v_block, weights + o * u_block, u_block, inputs, to + o * v_block,
                                     v_block, count);
    }
    for (std::int64_t o = 0; o < outputs; ++o)
        for (std::int64_t t = 0; t < count; ++t) {
            const std::int64_t image = (range.begin + t) / of_image, place = (range.begin + t) % of_image;
            const std::int64_t row = place / tiles.columns * tile, column = place % tiles.columns * tile;
            V all[points], half[tile * window], out[tile];
            for (int p = 0; p < points; ++p) all[p] = load<block>(m + p * m_point + o * v_block + t * block);
            for (int c = 0; c < window; ++c) output_1d(all + c, half + c, window);
            float* const to = y + (image * plan.outputs + os.begin + o) * plane;
            for (std::int64_t r = 0; r < std::min<std::int64_t>(tile, tiles.height - row); ++r) {
                output_1d(half + r * window, out, 1);
                for (std::int64_t c = 0; c < std::min<std::int64_t>(tile, tiles.width - column); ++c)
                    store<block>(to + ((row + r) * tiles.width + column + c) * block, out[c]);
            }
        }
}

ONECYCLE_CLONES
void convolve_range(const Plan& plan, const float* x, const float* u, float* y, Range range, Range os,
                    float* work) {
    plan.block == 16 ? convolve<16>(plan, x, u, y, range, os, work)
                     : convolve<8>(plan, x, u, y, range, os, work);
}

int block_of(Layout layout) {
    return layout == Layout::nChw16c ? 16 : layout == Layout::nChw8c ? 8 : 0;
}

Layout weights_layout(int block) {
    return block == 16 ? Layout::OIhw16i16o : Layout::OIhw8i8o;
}

}  // namespace

bool prefers_winograd(const OpDesc& desc) {
    if (desc.kernel != 3 || desc.stride != 1 || desc.padding != 1) return false;
    const bool gradient = desc.kind == OpKind::conv2d_backward_weights;
    const TensorDesc &first = desc.inputs[0], &second = gradient ? desc.inputs[1] : desc.outputs[0];
    const TensorDesc& w = gradient ? desc.outputs[0] : desc.inputs[1];
    const int block = block_of(first.layout);
    if (block == 0 || w.layout != weights_layout(block)) return false;
    if (second.layout != first.layout && second.layout != Layout::any) return false;
    // Products of a direct convolution that skips the padding, and of this one; the transforms and the
    // traffic of the transformed weights cost as much as half of it again.
    const Tiles tiles(first);
    const std::int64_t direct = first[0] * (3 * first[2] - 2) * (3 * first[3] - 2);
    return tiles.count() >= 16 && 2 * direct > 3 * points * tiles.count();
}

MadeOp make_winograd_forward(const OpDesc& given, const Context& context) {
    OpDesc desc = given;
    const TensorDesc& x = desc.inputs[0];
    adopt_layout(desc, 0, x.layout);
    const int block = block_of(x.layout);
    const Plan plan{.tiles = Tiles(x),
                    .block = block,
                    .inputs = x[1] / block,
                    .outputs = desc.outputs[0][1] / block,
                    .plane = x[2] * x[3] * block,
                    .turned = desc.kind == OpKind::conv2d_backward_data};
    // Ranges of tiles: long enough to use the transformed weights well, one for each thread at least; too few
    // tiles for that are shared by cutting the outputs.
    const int threads = context.threads;
    const std::int64_t tiles = plan.tiles.count(), longest = plan.inputs * plan.outputs > 64 ? 48 : 24;
    std::int64_t ranges = (tiles + longest - 1) / longest;
    if (ranges > threads) ranges = (ranges + threads - 1) / threads * threads;
    const std::int64_t cuts = std::min((threads + ranges - 1) / ranges, (plan.outputs + 1) / 2);
    const std::int64_t range = (tiles + ranges - 1) / ranges;
    const std::size_t weights = aligned(static_cast<std::size_t>(points * plan.u_point()) * sizeof(float));
    const std::size_t work =
        aligned(static_cast<std::size_t>(points * (point_stride(plan.inputs, range, block) +
                                                   point_stride(plan.outputs, range, block))) *
                sizeof(float));
    MadeOp made = made_of(
        desc, weights + static_cast<std::size_t>(threads) * work,
        [=](void* const* in, void* const* out, void* workspace) {
            float* const u = floats_out(workspace);
            parallel_for(threads, plan.outputs * plan.inputs, [&](std::int64_t b) {
                transform_weights_of(plan, floats(in[1]), b / plan.inputs, b % plan.inputs, u);
            });
            parallel_for(threads, ranges * cuts, [&](std::int64_t k) {
                auto* const mine = static_cast<std::byte*>(workspace) + weights +
                                   static_cast<std::size_t>(omp_get_thread_num()) * work;
                convolve_range(plan, floats(in[0]), u, floats_out(out[0]), part_of(tiles, k / cuts, ranges),
                               part_of(plan.outputs, k % cuts, cuts), reinterpret_cast<float*>(mine));
            });
        });
    made.implementation = "own winograd";
    return made;
}

}  // namespace onecycle::cpu
