// fastai's AdaptiveConcatPool2d of size 1: y[n] = [maximum over the pixels of each channel, then
// each mean]. The index is the first pixel that has the maximum; NaN counts as the largest.
// Plain-loop equivalent of the backward pass: dx[n][c][p] = dy[n][C + c] / P + (p == index[n][c] ?
// dy[n][c] : 0).
#include <algorithm>

#include "ops/cpu/builders.h"
#include "ops/cpu/parallel.h"

namespace onecycle::cpu {

namespace {

constexpr std::int64_t most_lanes = 16;

// Channels in groups that lie side by side in every pixel.
struct PixelView {
    std::int64_t images, channels, pixels, width;  // width: channels of a group, fewer in nhwc's last
    std::int64_t pixel_stride, group_stride;

    explicit PixelView(const TensorDesc& t) : images(t[0]), channels(t[1]), pixels(t[2] * t[3]) {
        const bool nhwc = t.layout == Layout::nhwc;
        width = nhwc || t.layout == Layout::nChw16c ? 16 : t.layout == Layout::nChw8c ? 8 : 1;
        pixel_stride = nhwc ? channels : width;
        group_stride = nhwc ? width : width * pixels;
    }
    std::int64_t groups() const { return (channels + width - 1) / width; }
    std::int64_t lanes(std::int64_t group) const { return std::min(width, channels - group * width); }
    std::int64_t offset(std::int64_t image, std::int64_t group) const {
        return image * channels * pixels + group * group_stride;
    }
};

void pool_image(const PixelView& v, const float* x, float* y, std::int32_t* index, std::int64_t image) {
    for (std::int64_t g = 0; g < v.groups(); ++g) {
        const float* at = x + v.offset(image, g);
        const std::int64_t lanes = v.lanes(g);
        float best[most_lanes];
        double sum[most_lanes] = {};
        std::int32_t place[most_lanes] = {};
        std::copy(at, at + lanes, best);
        for (std::int64_t p = 0; p < v.pixels; ++p, at += v.pixel_stride)
            for (std::int64_t l = 0; l < lanes; ++l) {
                sum[l] += static_cast<double>(at[l]);
                if (at[l] <= best[l] || best[l] != best[l]) continue;
                best[l] = at[l];
                place[l] = static_cast<std::int32_t>(p);
            }
        for (std::int64_t l = 0; l < lanes; ++l) {
            const std::int64_t c = g * v.width + l;
            y[image * 2 * v.channels + c] = best[l];
            y[(image * 2 + 1) * v.channels + c] = static_cast<float>(sum[l] / static_cast<double>(v.pixels));
            index[image * v.channels + c] = place[l];
        }
    }
}

void spread_image(const PixelView& v, const float* dy, const std::int32_t* index, float* dx,
                  std::int64_t image) {
    const float share = 1.0f / static_cast<float>(v.pixels);
    for (std::int64_t g = 0; g < v.groups(); ++g) {
        float* at = dx + v.offset(image, g);
        const std::int64_t lanes = v.lanes(g);
        const float* of_maximum = dy + image * 2 * v.channels + g * v.width;
        const float* of_mean = of_maximum + v.channels;
        const std::int32_t* place = index + image * v.channels + g * v.width;
        for (std::int64_t p = 0; p < v.pixels; ++p, at += v.pixel_stride)
            for (std::int64_t l = 0; l < lanes; ++l)
                at[l] = of_mean[l] * share + (place[l] == p ? of_maximum[l] : 0.0f);
    }
}

void check_features(const OpDesc& desc, const TensorDesc& x, const TensorDesc& features,
                    const TensorDesc& index) {
    require(x.rank == 4 && x.type == DType::f32 && x.layout != Layout::any && x.elements() > 0, desc,
            "x is an activation of a decided layout");
    require_plain(desc, features, {x[0], 2 * x[1]}, "the features");
    require_like(desc, index, TensorDesc({x[0], x[1]}, Layout::plain, DType::i32), "the index");
}

}  // namespace

BuiltOp make_concat_pool(const OpDesc& given, const Context& context) {
    require_operands(given, 1, 2);
    OpDesc desc = given;
    for (std::size_t i : {0, 1}) adopt_layout(desc, i, Layout::plain);
    check_features(desc, desc.inputs[0], desc.outputs[0], desc.outputs[1]);
    return op_from(desc, 0,
                   [view = PixelView(desc.inputs[0]), threads = context.threads](void* const* in,
                                                                                 void* const* out, void*) {
                       parallel_for(threads_for(threads, view.images * view.channels * view.pixels),
                                    view.images, [&](std::int64_t image) {
                                        pool_image(view, floats(in[0]), floats_out(out[0]),
                                                   static_cast<std::int32_t*>(out[1]), image);
                                    });
                   });
}

BuiltOp make_concat_pool_backward(const OpDesc& desc, const Context& context) {
    require_operands(desc, 2, 1);
    check_features(desc, desc.outputs[0], desc.inputs[0], desc.inputs[1]);
    return op_from(desc, 0,
                   [view = PixelView(desc.outputs[0]), threads = context.threads](void* const* in,
                                                                                  void* const* out, void*) {
                       parallel_for(threads_for(threads, view.images * view.channels * view.pixels),
                                    view.images, [&](std::int64_t image) {
                                        spread_image(view, floats(in[0]),
                                                     static_cast<const std::int32_t*>(in[1]),
                                                     floats_out(out[0]), image);
                                    });
                   });
}

}  // namespace onecycle::cpu
