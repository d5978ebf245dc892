// y[n][c][i][j] = mean of x[n][c] over window (i, j), see adaptive_rules.h; y is plain features.
// The gradient of a pixel is the sum over the windows that cover it of dy / their pixels, in the
// order of the windows.
#include "core/tensor.h"
#include "ops/cpu/builders.h"
#include "ops/cpu/parallel.h"
#include "rules/adaptive_rules.h"

namespace onecycle::cpu {

namespace {

struct Plan {
    TensorDesc x;
    std::int32_t side, height, width;

    Plan(const OpDesc& desc, const TensorDesc& x_, const TensorDesc& features)
        : x(x_),
          side(desc.kernel),
          height(static_cast<std::int32_t>(x[2])),
          width(static_cast<std::int32_t>(x[3])) {
        require(x.rank == 4 && x.type == DType::f32 && x.layout != Layout::any, desc,
                "x is an activation of a decided layout");
        require_plain(desc, features, {x[0], x[1] * side * side}, "the features");
    }

    // Where a channel of an image begins, and what is between its pixels: the same for all.
    std::int64_t start(std::int64_t image, std::int64_t channel) const {
        const std::int64_t block = block_of(), pixels = x[2] * x[3];
        if (x.layout == Layout::nhwc) return image * x[1] * pixels + channel;
        return image * x[1] * pixels + channel / block * block * pixels + channel % block;
    }
    std::int64_t pixel_stride() const { return x.layout == Layout::nhwc ? x[1] : block_of(); }

  private:
    std::int64_t block_of() const {
        return x.layout == Layout::nChw16c ? 16 : x.layout == Layout::nChw8c ? 8 : 1;
    }
};

void pool_plane(const Plan& p, const float* x, float* y) {
    const std::int64_t stride = p.pixel_stride();
    for (std::int32_t i = 0; i < p.side; ++i)
        for (std::int32_t j = 0; j < p.side; ++j) {
            const Cover rows = window_pixels(i, p.height, p.side),
                        columns = window_pixels(j, p.width, p.side);
            double sum = 0;
            for (std::int32_t h = rows.begin; h < rows.end; ++h)
                for (std::int32_t w = columns.begin; w < columns.end; ++w)
                    sum += static_cast<double>(x[(std::int64_t{h} * p.width + w) * stride]);
            const std::int32_t area = (rows.end - rows.begin) * (columns.end - columns.begin);
            y[i * p.side + j] = static_cast<float>(sum / area);
        }
}

void spread_plane(const Plan& p, const float* dy, float* dx) {
    const std::int64_t stride = p.pixel_stride();
    for (std::int32_t h = 0; h < p.height; ++h)
        for (std::int32_t w = 0; w < p.width; ++w) {
            const Cover rows = pixel_windows(h, p.height, p.side),
                        columns = pixel_windows(w, p.width, p.side);
            double sum = 0;
            for (std::int32_t i = rows.begin; i < rows.end; ++i)
                for (std::int32_t j = columns.begin; j < columns.end; ++j) {
                    const Cover high = window_pixels(i, p.height, p.side),
                                wide = window_pixels(j, p.width, p.side);
                    const std::int32_t area = (high.end - high.begin) * (wide.end - wide.begin);
                    sum += static_cast<double>(dy[i * p.side + j]) / area;
                }
            dx[(std::int64_t{h} * p.width + w) * stride] = static_cast<float>(sum);
        }
}

}  // namespace

BuiltOp make_adaptive_average_pool(const OpDesc& given, const Context& context) {
    require_operands(given, 1, 1);
    OpDesc desc = given;
    adopt_layout(desc, 0, Layout::plain);
    return op_from(desc, 0,
                   [p = Plan(desc, desc.inputs[0], desc.outputs[0]), threads = context.threads](
                       void* const* in, void* const* out, void*) {
                       parallel_for(threads, p.x[0] * p.x[1], [&](std::int64_t i) {
                           pool_plane(p, floats(in[0]) + p.start(i / p.x[1], i % p.x[1]),
                                      floats_out(out[0]) + i * p.side * p.side);
                       });
                   });
}

BuiltOp make_adaptive_average_pool_backward(const OpDesc& desc, const Context& context) {
    require_operands(desc, 1, 1);
    return op_from(desc, 0,
                   [p = Plan(desc, desc.outputs[0], desc.inputs[0]), threads = context.threads](
                       void* const* in, void* const* out, void*) {
                       parallel_for(threads, p.x[0] * p.x[1], [&](std::int64_t i) {
                           spread_plane(p, floats(in[0]) + i * p.side * p.side,
                                        floats_out(out[0]) + p.start(i / p.x[1], i % p.x[1]));
                       });
                   });
}

}  // namespace onecycle::cpu
