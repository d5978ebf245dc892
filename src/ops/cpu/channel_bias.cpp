// The bias of a convolution: y[n][c][p] = x[n][c][p] + b[c]; db[c] = sum of dy[n][c][p] over images
// and pixels. Equal bits for any number of threads: the sum of a group of channels is one thread's,
// in the order of images and rows.
#include "ops/cpu/builders.h"
#include "ops/cpu/channel_view.h"

namespace onecycle::cpu {

using simd::Float16;
using namespace simd;  // operators

namespace {

ONECYCLE_CLONES
void add_to_group(const ChannelView& v, float* y, const float* x, const float* b, std::int64_t image,
                  std::int64_t g) {
    float values[lanes] = {};
    for (std::int64_t l = 0; l < v.width(g); ++l) values[l] = b[v.channel(g, l)];
    const Float16 value = load(values);
    for_plane(
        v, image, g, [&](std::int64_t at, auto row) __attribute__((always_inline)) {
            store(y + at, load(x + at, row) + value, row);
        });
}

ONECYCLE_CLONES
void sum_group(const ChannelView& v, const float* dy, float* db, std::int64_t g) {
    double sums[lanes] = {};
    for (std::int64_t image = 0; image < v.images; ++image) add_plane(sums, v, dy, image, g);
    for_channel_sums(
        v, sums, g, [&](std::int64_t channel, double sum) __attribute__((always_inline)) {
            db[channel] = static_cast<float>(sum);
        });
}

}  // namespace

BuiltOp make_add_channel_bias(const OpDesc& desc, const Context& context) {
    require_operands(desc, 2, 1);
    const TensorDesc& y = desc.outputs[0];
    require(y.rank == 4 && y.type == DType::f32 && y.layout != Layout::any, desc,
            "y is an activation of a decided layout");
    require_like(desc, desc.inputs[0], y, "x");
    require_plain(desc, desc.inputs[1], {y[1]}, "b");
    return op_from(desc, 0,
                   [v = ChannelView(y), threads = context.threads](void* const* in, void* const* out, void*) {
                       parallel_for(threads_for(threads, v.images * v.image_stride), v.images * v.groups,
                                    [&](std::int64_t i) {
                                        add_to_group(v, floats_out(out[0]), floats(in[0]), floats(in[1]),
                                                     i / v.groups, i % v.groups);
                                    });
                   });
}

BuiltOp make_channel_bias_gradient(const OpDesc& given, const Context& context) {
    require_operands(given, 1, 1);
    OpDesc desc = given;
    adopt_layout(desc, 0, Layout::plain);
    const TensorDesc& dy = desc.inputs[0];
    require(dy.rank == 4 && dy.type == DType::f32 && dy.layout != Layout::any, desc,
            "dy is an activation of a decided layout");
    require_plain(desc, desc.outputs[0], {dy[1]}, "db");
    return op_from(
        desc, 0, [v = ChannelView(dy), threads = context.threads](void* const* in, void* const* out, void*) {
            parallel_for(threads_for(threads, v.images * v.image_stride), v.groups,
                         [&](std::int64_t g) { sum_group(v, floats(in[0]), floats_out(out[0]), g); });
        });
}

}  // namespace onecycle::cpu
