// Forward and backward data by Winograd's algorithm; backward data is forward with the filters
// turned around and their two channel dimensions swapped. For a range of tiles:
//   V[point][i block][tile][i] = transformed input,  U[o block][point][i block][i][o] = transformed weights
//   M[point][o block][tile][o] = sum over i of V * U: 36 matrix products
//   y                          = M transformed back
// Either U is made first and each thread takes ranges, with V and M in its cache; or, where the
// weights are larger than the input, V is made first and each thread takes outputs, with U and M in
// its cache. Each output is summed over i in one order wherever the cuts are, so the bits do not
// depend on them.
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
    // U is [o block][point][i block][i][o], with a cache line between points.
    std::int64_t u_point() const { return inputs * block_floats() + 16; }
    std::int64_t u_block() const { return points * u_point(); }
    std::int64_t u_floats() const { return outputs * u_block(); }
};

// The transformed weights of one block of outputs and one of inputs.
template <int block>
ONECYCLE_INLINE void transform_weights(const Plan& plan, const float* w, std::int64_t o, std::int64_t i,
                                       float* to) {
    using V = typename Vector<block>::type;
    constexpr int floats_of_block = block * block;
    float turned[9 * floats_of_block];
    const float* from = w + (o * plan.inputs + i) * 9 * floats_of_block;
    if (plan.turned) {
        const float* const stored = w + (i * plan.outputs + o) * 9 * floats_of_block;
        turn_filter<block>(stored, 9, turned);
        from = turned;
    }
    for (int lane = 0; lane < block; ++lane) {
        V g[9], half[window * 3], all[points];
        for (int tap = 0; tap < 9; ++tap) g[tap] = load<block>(from + (tap * block + lane) * block);
        for (int c = 0; c < 3; ++c) weights_1d(g + c, half + c, 3);
        for (int r = 0; r < window; ++r) weights_1d(half + r * 3, all + r * window, 1);
        for (int p = 0; p < points; ++p) store<block>(to + p * plan.u_point() + lane * block, all[p]);
    }
}

// U of one block of outputs.
ONECYCLE_CLONES
void transform_weights_of(const Plan& plan, const float* w, std::int64_t o, float* u) {
    for (std::int64_t i = 0; i < plan.inputs; ++i)
        plan.block == 16 ? transform_weights<16>(plan, w, o, i, u + i * plan.block_floats())
                         : transform_weights<8>(plan, w, o, i, u + i * plan.block_floats());
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

// Points lie one cache line further apart than their data, or all would fall into the same cache
// sets.
std::int64_t point_stride(std::int64_t blocks, std::int64_t tiles, int block) {
    return (blocks * tiles) * block + 16;
}

// V of tiles [range).
template <int block>
ONECYCLE_INLINE void transform_inputs(const Plan& plan, const float* x, Range range, float* v) {
    const Tiles tiles = plan.tiles;
    const std::int64_t count = range.end - range.begin, of_image = tiles.of_image();
    const std::int64_t stride = point_stride(plan.inputs, count, block);
    for (std::int64_t i = 0; i < plan.inputs; ++i)
        for (std::int64_t t = 0; t < count; ++t) {
            const std::int64_t image = (range.begin + t) / of_image, place = (range.begin + t) % of_image;
            transform_input<block>(tiles, x + (image * plan.inputs + i) * plan.plane, place / tiles.columns,
                                   place % tiles.columns, v + (i * count + t) * block, stride);
        }
}

// y of tiles [range) and blocks of outputs [os) from V, and U of these outputs. `m` is room for M.
template <int block>
ONECYCLE_INLINE void multiply_range(const Plan& plan, const float* v, const float* u, float* y, Range range,
                                    Range os, float* m) {
    using V = typename Vector<block>::type;
    const Tiles tiles = plan.tiles;
    const std::int64_t count = range.end - range.begin, outputs = os.end - os.begin;
    const std::int64_t run = count * block, v_point = point_stride(plan.inputs, count, block);
    const std::int64_t m_point = point_stride(outputs, count, block), u_block = plan.u_block();
    const std::int64_t plane = plan.plane, of_image = tiles.of_image();

    for (int p = 0; p < points; ++p) {
        const float* const inputs = v + p * v_point;
        const float* const weights = u + p * plan.u_point();
        float* const to = m + p * m_point;
        std::int64_t o = 0;
        for (; o + 2 <= outputs; o += 2)
            multiply_tiles<block, 2>(inputs, run, weights + o * u_block, u_block, plan.inputs, to + o * run,
                                     run, count);
        if (o < outputs)
            multiply_tiles<block, 1>(inputs, run, weights + o * u_block, u_block, plan.inputs, to + o * run,
                                     run, count);
    }
    for (std::int64_t o = 0; o < outputs; ++o)
        for (std::int64_t t = 0; t < count; ++t) {
            const std::int64_t image = (range.begin + t) / of_image, place = (range.begin + t) % of_image;
            const std::int64_t row = place / tiles.columns * tile, column = place % tiles.columns * tile;
            V all[points], half[tile * window], out[tile];
            for (int p = 0; p < points; ++p) all[p] = load<block>(m + p * m_point + o * run + t * block);
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
void transform_inputs_of(const Plan& plan, const float* x, Range range, float* v) {
    plan.block == 16 ? transform_inputs<16>(plan, x, range, v) : transform_inputs<8>(plan, x, range, v);
}

ONECYCLE_CLONES
void multiply_range_of(const Plan& plan, const float* v, const float* u, float* y, Range range, Range os,
                       float* m) {
    plan.block == 16 ? multiply_range<16>(plan, v, u, y, range, os, m)
                     : multiply_range<8>(plan, v, u, y, range, os, m);
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
    // Products of a direct convolution that skips the padding, and of this one; the transforms and
    // the traffic of the transformed weights cost as much as half of it again.
    const Tiles tiles(first);
    const std::int64_t direct = first[0] * (3 * first[2] - 2) * (3 * first[3] - 2);
    return tiles.count() >= 16 && 2 * direct > 3 * points * tiles.count();
}

BuiltOp make_winograd_forward(const OpDesc& given, const Context& context) {
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
    // Ranges of tiles: long enough to use the transformed weights well, and as many for each
    // thread. Threads without a range share the outputs of others.
    const std::int64_t threads = context.threads, tiles = plan.tiles.count();
    const std::int64_t longest = plan.inputs * plan.outputs > 64 ? 48 : 24;
    std::int64_t ranges = (tiles + longest - 1) / longest;
    if (ranges > threads) ranges = (ranges + threads - 1) / threads * threads;
    const std::int64_t range = (tiles + ranges - 1) / ranges, pairs = (plan.outputs + 1) / 2;
    const std::int64_t v_floats = points * point_stride(plan.inputs, range, block);
    const bool inputs_first = plan.u_floats() > ranges * v_floats && pairs >= threads;
    const auto layout = [&](std::int64_t shared, std::int64_t own) {
        return static_cast<std::size_t>(shared + threads * own) * sizeof(float);
    };
    const auto mine = [](float* shared_end, std::int64_t own) {
        return shared_end + omp_get_thread_num() * own;
    };

    BuiltOp made;
    if (inputs_first) {
        const std::int64_t v_all = ranges * v_floats;
        const std::int64_t u_pair = 2 * plan.u_block(), own = u_pair + points * point_stride(2, range, block);
        made = op_from(desc, layout(v_all, own), [=](void* const* in, void* const* out, void* workspace) {
            float* const v = floats_out(workspace);
            parallel_for(static_cast<int>(threads), ranges, [&](std::int64_t r) {
                transform_inputs_of(plan, floats(in[0]), part_of(tiles, r, ranges), v + r * v_floats);
            });
            parallel_for(static_cast<int>(threads), pairs, [&](std::int64_t pair) {
                float* const u = mine(v + v_all, own);
                const Range os{2 * pair, std::min(plan.outputs, 2 * pair + 2)};
                for (std::int64_t o = os.begin; o < os.end; ++o)
                    transform_weights_of(plan, floats(in[1]), o, u + (o - os.begin) * plan.u_block());
                for (std::int64_t r = 0; r < ranges; ++r)
                    multiply_range_of(plan, v + r * v_floats, u, floats_out(out[0]),
                                      part_of(tiles, r, ranges), os, u + u_pair);
            });
        });
    } else {
        const std::int64_t cuts = std::min((threads + ranges - 1) / ranges, pairs);
        const std::int64_t own = v_floats + points * point_stride(plan.outputs, range, block);
        made = op_from(desc, layout(plan.u_floats(), own),
                       [=](void* const* in, void* const* out, void* workspace) {
                           float* const u = floats_out(workspace);
                           parallel_for(static_cast<int>(threads), plan.outputs, [&](std::int64_t o) {
                               transform_weights_of(plan, floats(in[1]), o, u + o * plan.u_block());
                           });
                           parallel_for(static_cast<int>(threads), ranges * cuts, [&](std::int64_t k) {
                               float* const v = mine(u + plan.u_floats(), own);
                               const Range some = part_of(tiles, k / cuts, ranges),
                                           os = part_of(plan.outputs, k % cuts, cuts);
                               transform_inputs_of(plan, floats(in[0]), some, v);
                               multiply_range_of(plan, v, u + os.begin * plan.u_block(), floats_out(out[0]),
                                                 some, os, v + v_floats);
                           });
                       });
    }
    made.implementation = "own winograd";
    return made;
}

}  // namespace onecycle::cpu
