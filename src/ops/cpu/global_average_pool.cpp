// y[n][c] = mean of x over the pixels; backward spreads dy / (H*W).
#include "ops/cpu/builders.h"
#include "ops/cpu/channel_view.h"

namespace onecycle::cpu {

using simd::Float16;
using namespace simd;  // operators

namespace {

ONECYCLE_CLONES
void average(const ChannelView& v, const float* x, float* y, std::int64_t image) {
    for (std::int64_t g = 0; g < v.groups; ++g) {
        double sums[lanes] = {};
        add_plane(sums, v, x, image, g);
        for_channel_sums(
            v, sums, g, [&](std::int64_t channel, double sum) __attribute__((always_inline)) {
                y[image * v.channels + channel] = static_cast<float>(sum / static_cast<double>(v.pixels));
            });
    }
}

ONECYCLE_CLONES
void spread(const ChannelView& v, const float* dy, float* dx, std::int64_t image) {
    const float share = 1.0f / static_cast<float>(v.pixels);
    for (std::int64_t g = 0; g < v.groups; ++g) {
        float values[lanes] = {};
        for (std::int64_t l = 0; l < v.width(g); ++l)
            values[l] = dy[image * v.channels + v.channel(g, l)] * share;
        const Float16 value = load(values);
        for_plane(
            v, image,
            g, [&](std::int64_t at, auto row) __attribute__((always_inline)) { store(dx + at, value, row); });
    }
}

}  // namespace

BuiltOp make_global_average_pool(const OpDesc& desc, const Context& context) {
    require_operands(desc, 1, 1);
    const TensorDesc& x = desc.inputs[0];
    require(x.rank == 4 && x.type == DType::f32, desc, "x is an activation");
    OpDesc decided = desc;
    adopt_layout(decided, 0, Layout::plain);
    require_plain(decided, decided.outputs[0], {x[0], x[1]}, "y");
    return op_from(
        decided, 0,
        [view = ChannelView(x), threads = context.threads](void* const* in, void* const* out, void*) {
            parallel_for(
                threads_for(threads, view.images * view.image_stride), view.images,
                [&](std::int64_t image) { average(view, floats(in[0]), floats_out(out[0]), image); });
        });
}

BuiltOp make_global_average_pool_backward(const OpDesc& desc, const Context& context) {
    require_operands(desc, 1, 1);
    const TensorDesc& dx = desc.outputs[0];
    require(dx.rank == 4 && dx.type == DType::f32 && dx.layout != Layout::any, desc,
            "dx is an activation of a decided layout");
    require_plain(desc, desc.inputs[0], {dx[0], dx[1]}, "dy");
    return op_from(
        desc, 0,
        [view = ChannelView(dx), threads = context.threads](void* const* in, void* const* out, void*) {
            parallel_for(threads, view.images,
                         [&](std::int64_t image) { spread(view, floats(in[0]), floats_out(out[0]), image); });
        });
}

}  // namespace onecycle::cpu
