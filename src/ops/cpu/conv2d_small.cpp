// Forward and backward data of 3x3 convolutions over planes of a few pixels. On a plane of 2x2 a
// window meets padding in 20 of its 36 products; here each output pixel sums over the real pixels
// it sees only:
//   y[n][o][p] = sum over (tap, q) of p, over i: x[n][i][q] * w[o][i][tap]
// Images take the place that pixels have on large planes: a tile of them shares every load of a
// weight. Backward data is the same with the filters turned around and their channel dimensions
// swapped.
#include "ops/cpu/conv2d_small.h"

#include <vector>

#include "ops/cpu/channel_block.h"
#include "ops/cpu/parallel.h"

namespace onecycle::cpu {

namespace {

constexpr int taps = 9;

struct Sight {
    std::int32_t tap, pixel;  // what an output pixel sees
};

struct Plan {
    std::int64_t images, inputs, outputs;  // blocks of channels
    std::int64_t input_pixels, output_pixels;
    bool turned;
    std::vector<Sight> sights;
    std::vector<std::int64_t> starts;  // of output pixel p: sights [starts[p], starts[p + 1])
};

// y of `rows` images and `vectors` blocks of outputs at one pixel. x is packed: [i
// block][pixel][image][B].
template <int block, int rows, int vectors>
ONECYCLE_INLINE void sum_sights(const Plan& plan, const Sight* begin, const Sight* end, const float* x,
                                std::int64_t image, const float* w, float* y, std::int64_t image_stride,
                                std::int64_t y_block) {
    using V = typename Vector<block>::type;
    constexpr int filter = block * block;
    const std::int64_t inputs = plan.inputs, plane = plan.input_pixels * plan.images * block;
    const std::int64_t w_block = inputs * taps * filter;
    V sum[rows][vectors] = {};
    for (const Sight* s = begin; s != end; ++s) {
        const float* pixel = x + (s->pixel * plan.images + image) * block;
        const float* weights = w + s->tap * filter;
        for (std::int64_t ib = 0; ib < inputs; ++ib, pixel += plane, weights += taps * filter)
            for (int i = 0; i < block; ++i)
                for (int r = 0; r < rows; ++r)
                    for (int k = 0; k < vectors; ++k)
                        sum[r][k] += load<block>(weights + k * w_block + i * block) * pixel[r * block + i];
    }
    for (int r = 0; r < rows; ++r)
        for (int k = 0; k < vectors; ++k) store<block>(y + r * image_stride + k * y_block, sum[r][k]);
}

template <int block, int vectors>
ONECYCLE_INLINE void convolve(const Plan& plan, const float* x, const float* w, float* y, Range images) {
    constexpr int most = block == 16 ? 12 : 6;
    const std::int64_t y_block = plan.output_pixels * block, stride = plan.outputs * y_block;
    for (std::int64_t p = 0; p < plan.output_pixels; ++p) {
        const Sight* const begin = plan.sights.data() + plan.starts[static_cast<std::size_t>(p)];
        const Sight* const end = plan.sights.data() + plan.starts[static_cast<std::size_t>(p) + 1];
        std::int64_t n = images.begin;
        const auto rest = [&]<int rows>() __attribute__((always_inline)) {
            for (; n + rows <= images.end; n += rows)
                sum_sights<block, rows, vectors>(plan, begin, end, x, n, w, y + n * stride + p * block,
                                                 stride, y_block);
        };
        rest.template operator()<most>();
        rest.template operator()<4>();
        rest.template operator()<1>();
    }
}

// Blocks of outputs [os), one or two, of some images. `room` holds their turned filters.
template <int block>
ONECYCLE_INLINE void convolve_outputs(const Plan& plan, const float* x, const float* w, float* y,
                                      Range images, Range os, float* room) {
    constexpr std::int64_t filter = taps * block * block;
    const float* weights = w + os.begin * plan.inputs * filter;
    if (plan.turned) {
        for (std::int64_t o = os.begin; o < os.end; ++o)
            for (std::int64_t i = 0; i < plan.inputs; ++i)
                turn_filter<block>(w + (i * plan.outputs + o) * filter, taps,
                                   room + ((o - os.begin) * plan.inputs + i) * filter);
        weights = room;
    }
    float* const to = y + os.begin * plan.output_pixels * block;
    os.end - os.begin == 2 ? convolve<block, 2>(plan, x, weights, to, images)
                           : convolve<block, 1>(plan, x, weights, to, images);
}

ONECYCLE_CLONES
void convolve_outputs_of(const Plan& plan, int block, const float* x, const float* w, float* y, Range images,
                         Range os, float* room) {
    block == 16 ? convolve_outputs<16>(plan, x, w, y, images, os, room)
                : convolve_outputs<8>(plan, x, w, y, images, os, room);
}

// [image][pixel] of one block of channels as [pixel][image].
void pack_block(const Plan& plan, int block, const float* x, std::int64_t i, float* to) {
    for (std::int64_t n = 0; n < plan.images; ++n)
        for (std::int64_t p = 0; p < plan.input_pixels; ++p)
            std::copy_n(x + ((n * plan.inputs + i) * plan.input_pixels + p) * block, block,
                        to + ((i * plan.input_pixels + p) * plan.images + n) * block);
}

Plan make_plan(const OpDesc& desc, int block) {
    const TensorDesc &from = desc.inputs[0], &to = desc.outputs[0];
    Plan plan{.images = from[0],
              .inputs = from[1] / block,
              .outputs = to[1] / block,
              .input_pixels = from[2] * from[3],
              .output_pixels = to[2] * to[3],
              .turned = desc.kind == OpKind::conv2d_backward_data,
              .sights = {},
              .starts = {0}};
    // Where output coordinate `out` sees through window position k; below 0: nowhere. Backward data
    // looks through turned filters from x to the outputs y that read it.
    const auto seen = [&](std::int64_t out, std::int64_t k, std::int64_t size) {
        std::int64_t in = out * desc.stride - desc.padding + k;
        if (plan.turned) {
            const std::int64_t scaled = out + desc.padding - (2 - k);
            in = scaled % desc.stride == 0 ? scaled / desc.stride : -1;
        }
        return in >= 0 && in < size ? in : -1;
    };
    for (std::int64_t y = 0; y < to[2]; ++y)
        for (std::int64_t x = 0; x < to[3]; ++x) {
            for (int tap = 0; tap < taps; ++tap) {
                const std::int64_t row = seen(y, tap / 3, from[2]), column = seen(x, tap % 3, from[3]);
                if (row >= 0 && column >= 0)
                    plan.sights.push_back({tap, static_cast<std::int32_t>(row * from[3] + column)});
            }
            plan.starts.push_back(static_cast<std::int64_t>(plan.sights.size()));
        }
    return plan;
}

}  // namespace

bool has_small_planes(const OpDesc& desc) {
    const TensorDesc &from = desc.inputs[0], &to = desc.outputs[0];
    const int block = block_of(from.layout);
    return desc.kernel == 3 && block != 0 && block_of(desc.inputs[1].layout) == block &&
           (to.layout == from.layout || to.layout == Layout::any) && from[0] >= 8 &&
           std::max(from[2] * from[3], to[2] * to[3]) <= 16;
}

BuiltOp make_small_convolution(const OpDesc& given, const Context& context) {
    OpDesc desc = given;
    adopt_layout(desc, 0, desc.inputs[0].layout);
    const int block = block_of(desc.inputs[0].layout), threads = context.threads;
    const Plan plan = make_plan(desc, block);
    const std::size_t packed = aligned(desc.inputs[0].bytes());
    const std::int64_t room = plan.turned ? 2 * plan.inputs * taps * block * block : 0;
    const std::int64_t pairs = (plan.outputs + 1) / 2, cuts = (threads + pairs - 1) / pairs;
    BuiltOp made = op_from(
        desc, packed + static_cast<std::size_t>(threads * room) * sizeof(float),
        [=](void* const* in, void* const* out, void* workspace) {
            float* const x = floats_out(workspace);
            float* const rooms = reinterpret_cast<float*>(static_cast<std::byte*>(workspace) + packed);
            parallel_for(threads, plan.inputs,
                         [&](std::int64_t i) { pack_block(plan, block, floats(in[0]), i, x); });
            parallel_for(threads, pairs * cuts, [&](std::int64_t k) {
                const std::int64_t pair = k / cuts;
                convolve_outputs_of(
                    plan, block, x, floats(in[1]), floats_out(out[0]), part_of(plan.images, k % cuts, cuts),
                    {2 * pair, std::min(plan.outputs, 2 * pair + 2)}, rooms + omp_get_thread_num() * room);
            });
        });
    made.implementation = "own small";
    return made;
}

}  // namespace onecycle::cpu
