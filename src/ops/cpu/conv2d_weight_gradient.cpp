// Weight gradients of convolutions in blocked layouts. Plain-loop equivalent:
//   dw[o][i][ky][kx] = sum over n, oy, ox of dy[n][o][oy][ox] * x[n][i][oy*stride - padding + ky][...]
// A block of B x B (i, o) stays in registers while one vector of dy times B scalars of x is added
// for every pair of pixels. Each block is computed by one thread in one order, so no sum crosses
// threads: oneDNN splits them, and its bits change with the number of threads. Only pairs of real
// pixels are formed; a 3x3 window on a plane of 2x2 pixels meets padding in 20 of its 36 products,
// and oneDNN computes most of those.
#include "ops/cpu/conv2d_weight_gradient.h"

#include <numeric>
#include <vector>

#include "ops/cpu/channel_block.h"
#include "ops/cpu/parallel.h"

namespace onecycle::cpu {

namespace {

// A pair of pixels: where they lie in an image of dy and of x, in floats.
struct Pair {
    std::int32_t dy, x;
};

struct Plan {
    std::int64_t images = 0, dy_image = 0, x_image = 0;  // floats of a plane of one block
    // What is worked on at a time stays in a cache: some images in the first level, else a band of
    // rows of one in the second.
    std::int64_t images_at_once = 1, bands = 1, taps = 0;
    std::vector<Pair> pairs;
    std::vector<std::int64_t> starts;    // of the pairs of band b and tap t at [b * taps + t], and their end
    std::vector<std::int64_t> x_pixels;  // that any pair needs: a 1x1 window with a stride skips most
};

// dw [taps][B of i][B of o] of one block of outputs and one of inputs; dy and x
// [images][pixels][B].
template <int block>
ONECYCLE_INLINE void accumulate_block(const Plan& plan, const float* dy, const float* x, float* dw) {
    using V = typename Vector<block>::type;
    const std::int64_t *const starts = plan.starts.data(), images = plan.images, taps = plan.taps;
    const std::int64_t dy_image = plan.dy_image, x_image = plan.x_image;
    const Pair* const pairs = plan.pairs.data();
    for (std::int64_t first = 0; first < images; first += plan.images_at_once)
        for (std::int64_t run = 0; run < plan.bands * taps; ++run) {
            float* const to = dw + run % taps * block * block;
            const bool start = first == 0 && run < taps;
            V sum[block];
            for (int i = 0; i < block; ++i) sum[i] = start ? V{} : load<block>(to + i * block);
            const std::int64_t last = std::min(images, first + plan.images_at_once);
            for (std::int64_t n = first; n < last; ++n)
                for (const Pair *p = pairs + starts[run], *end = pairs + starts[run + 1]; p != end; ++p) {
                    const V d = load<block>(dy + n * dy_image + p->dy);
                    const float* const pixel = x + n * x_image + p->x;
                    for (int i = 0; i < block; ++i) sum[i] += d * pixel[i];
                }
            for (int i = 0; i < block; ++i) store<block>(to + i * block, sum[i]);
        }
}

ONECYCLE_CLONES
void accumulate(const Plan& plan, int block, const float* dy, const float* x, float* dw) {
    block == 16 ? accumulate_block<16>(plan, dy, x, dw) : accumulate_block<8>(plan, dy, x, dw);
}

// f(pixel of dy, pixel of x) for every pair of real pixels that meets in a tap, for these rows of
// dy.
template <typename F>
void for_pairs(const OpDesc& desc, int tap, Range rows, const F& f) {
    const TensorDesc &dy = desc.inputs[0], &x = desc.inputs[1];
    for (std::int64_t oy = rows.begin; oy < rows.end; ++oy)
        for (std::int64_t ox = 0; ox < dy[3]; ++ox) {
            const std::int64_t iy = oy * desc.stride - desc.padding + tap / desc.kernel;
            const std::int64_t ix = ox * desc.stride - desc.padding + tap % desc.kernel;
            if (iy >= 0 && iy < x[2] && ix >= 0 && ix < x[3]) f(oy * dy[3] + ox, iy * x[3] + ix);
        }
}

Plan make_plan(const OpDesc& desc, int block) {
    const TensorDesc &dy = desc.inputs[0], &x = desc.inputs[1];
    const int taps = desc.kernel * desc.kernel;
    Plan plan{.images = dy[0], .dy_image = dy[2] * dy[3] * block, .taps = taps};

    std::vector<std::int32_t> place(static_cast<std::size_t>(x[2] * x[3]), -1);  // among x_pixels
    for (int tap = 0; tap < taps; ++tap)
        for_pairs(desc, tap, {0, dy[2]}, [&](auto, auto from) { place[static_cast<std::size_t>(from)] = 0; });
    for (std::size_t p = 0; p < place.size(); ++p) {
        if (place[p] < 0) continue;
        place[p] = static_cast<std::int32_t>(plan.x_pixels.size());
        plan.x_pixels.push_back(static_cast<std::int64_t>(p));
    }
    plan.x_image = static_cast<std::int64_t>(plan.x_pixels.size()) * block;

    constexpr std::int64_t first_level = 24 * 1024 / sizeof(float), second_level = 256 * 1024 / sizeof(float);
    const std::int64_t image = plan.dy_image + plan.x_image;
    plan.images_at_once = std::max<std::int64_t>(1, first_level / image);
    plan.bands = std::min(dy[2], (image + second_level - 1) / second_level);
    for (std::int64_t band = 0; band < plan.bands; ++band)
        for (int tap = 0; tap < taps; ++tap) {
            plan.starts.push_back(static_cast<std::int64_t>(plan.pairs.size()));
            for_pairs(desc, tap, part_of(dy[2], band, plan.bands), [&](auto to, auto from) {
                plan.pairs.push_back(
                    {static_cast<std::int32_t>(to * block), place[static_cast<std::size_t>(from)] * block});
            });
        }
    plan.starts.push_back(static_cast<std::int64_t>(plan.pairs.size()));
    return plan;
}

// Pixels of one block of channels, image after image: what a block of dw reads becomes one run of
// memory.
template <int block>
void gather_block(const float* from, float* to, std::int64_t images, std::int64_t image_stride,
                  const std::vector<std::int64_t>& pixels) {
    for (std::int64_t n = 0; n < images; ++n, from += image_stride)
        for (const std::int64_t pixel : pixels) to = std::copy_n(from + pixel * block, block, to);
}

}  // namespace

bool has_own_weight_gradient(const OpDesc& desc) {
    const int block = block_of(desc.outputs[0].layout);
    return block != 0 && block_of(desc.inputs[0].layout) == block && block_of(desc.inputs[1].layout) == block;
}

namespace {

template <int block>
BuiltOp make_with_block(const OpDesc& desc, const Context& context) {
    const TensorDesc &dy = desc.inputs[0], &x = desc.inputs[1];
    const std::int64_t outputs = dy[1] / block, inputs = x[1] / block;
    const std::int64_t dy_plane = dy[2] * dy[3] * block, x_plane = x[2] * x[3] * block;
    const Plan plan = make_plan(desc, block);
    const std::int64_t images = plan.images, dys_block = images * plan.dy_image,
                       xs_block = images * plan.x_image;
    std::vector<std::int64_t> dy_pixels(static_cast<std::size_t>(dy[2] * dy[3]));
    std::iota(dy_pixels.begin(), dy_pixels.end(), 0);
    const std::size_t dy_bytes = aligned(dy.bytes());
    const std::size_t x_bytes = static_cast<std::size_t>(inputs * xs_block) * sizeof(float);
    return op_from(desc, dy_bytes + x_bytes,
                   [=, threads = context.threads](void* const* in, void* const* out, void* workspace) {
                       float* const dys = floats_out(workspace);
                       float* const xs =
                           reinterpret_cast<float*>(static_cast<std::byte*>(workspace) + dy_bytes);
                       parallel_for(threads, outputs + inputs, [&](std::int64_t b) {
                           if (b < outputs)
                               return gather_block<block>(floats(in[0]) + b * dy_plane, dys + b * dys_block,
                                                          images, outputs * dy_plane, dy_pixels);
                           b -= outputs;
                           gather_block<block>(floats(in[1]) + b * x_plane, xs + b * xs_block, images,
                                               inputs * x_plane, plan.x_pixels);
                       });
                       const std::int64_t weights = plan.taps * block * block;
                       parallel_for(threads, outputs * inputs, [&](std::int64_t b) {
                           accumulate(plan, block, dys + b / inputs * dys_block, xs + b % inputs * xs_block,
                                      floats_out(out[0]) + b * weights);
                       });
                   });
}

}  // namespace

BuiltOp make_own_weight_gradient(const OpDesc& desc, const Context& context) {
    return block_of(desc.outputs[0].layout) == 16 ? make_with_block<16>(desc, context)
                                                  : make_with_block<8>(desc, context);
}

}  // namespace onecycle::cpu
