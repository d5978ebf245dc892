// Bytes to floats: x = (u8 / 255 - mean) / stddev by a table of 256 values a channel, so that every
// value is rounded exactly as torchvision's ToTensor and Normalize round it.
#include <array>

#include "ops/cpu/builders.h"
#include "ops/cpu/parallel.h"

namespace onecycle::cpu {

BuiltOp make_normalize_images(const OpDesc& given, const Context& context) {
    require_operands(given, 1, 1);
    OpDesc desc = given;
    const TensorDesc& images = desc.inputs[0];
    require(images.rank == 4 && images.type == DType::u8 && images[3] == 3, desc, "images are u8 [N,H,W,3]");
    adopt_layout(desc, 0, Layout::plain);
    const TensorDesc& x = desc.outputs[0];
    require(x.type == DType::f32 && x.same_shape({images[0], 3, images[1], images[2]}), desc,
            "x is not f32 [N,3,H,W]");
    require(x.layout == Layout::plain || x.layout == Layout::nhwc, desc, "x is neither plain nor nhwc");

    std::array<std::array<float, 256>, 3> table{};
    for (std::size_t c = 0; c < 3; ++c)
        for (std::size_t v = 0; v < 256; ++v)
            table[c][v] = (static_cast<float>(v) / 255.0f - desc.mean[c]) / desc.stddev[c];

    const std::int64_t height = images[1], width = images[2];
    const std::int64_t channel_stride = x.layout == Layout::plain ? height * width : 1;
    const std::int64_t pixel_stride = x.layout == Layout::plain ? 1 : 3;
    return op_from(
        desc, 0,
        [=, threads = context.threads, rows = images[0] * height](void* const* in, void* const* out, void*) {
            parallel_for(threads, rows, [&](std::int64_t row) {
                const std::int64_t image = row / height, y = row % height;
                const auto* from = static_cast<const std::uint8_t*>(in[0]) + row * width * 3;
                float* to = floats_out(out[0]) + image * height * width * 3 + y * width * pixel_stride;
                for (std::int64_t i = 0; i < width; ++i)
                    for (std::int64_t c = 0; c < 3; ++c)
                        to[i * pixel_stride + c * channel_stride] =
                            table[static_cast<std::size_t>(c)][from[3 * i + c]];
            });
        });
}

}  // namespace onecycle::cpu
