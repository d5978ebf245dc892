// Mixup and cutmix of a batch, in place: see rules/mix_rules.h.
#include "rules/mix_rules.h"

#include "ops/cpu/builders.h"
#include "ops/cpu/parallel.h"

namespace onecycle::cpu {

BuiltOp make_mix_batch(const OpDesc& given, const Context& context) {
    require_mixing(given);
    OpDesc desc = given;
    const TensorDesc& x = desc.inputs[0];
    require(x.type == DType::f32 && (x.layout == Layout::plain || x.layout == Layout::nhwc), desc,
            "x is neither f32 in plain order nor in nhwc");
    const int height = static_cast<int>(x[2]), width = static_cast<int>(x[3]);
    const bool planes = x.layout == Layout::plain;
    const std::int64_t channels = planes ? 1 : x[1], rows = x[1] * height / channels, row = channels * width;
    const MixRule rule(desc.mixup, desc.cutmix, desc.seed);
    return op_from(
        desc, 0, [=, n = x[0], threads = context.threads](void* const* in, void* const* out, void*) {
            float* const images = floats_out(out[0]);
            auto* const labels2 = static_cast<std::int32_t*>(out[1]);
            float* const weight = floats_out(out[2]);
            const auto* labels = static_cast<const std::int32_t*>(in[1]);
            const std::int64_t count = std::min<std::int64_t>(n, *static_cast<const std::int32_t*>(in[2]));
            const auto& control = *static_cast<const StepControl*>(in[3]);
            for (std::int64_t place = 0; place < n; ++place)
                labels2[place] = labels[place], weight[place] = 1;
            parallel_for(threads_for(threads, n * rows * row), count / 2, [&](std::int64_t i) {
                const std::int64_t j = count - 1 - i;
                const MixDraw first = rule.draw(control, static_cast<int>(i), height, width),
                              second = rule.draw(control, static_cast<int>(j), height, width);
                labels2[i] = labels[j], labels2[j] = labels[i];
                weight[i] = first.weight, weight[j] = second.weight;
                for (std::int64_t r = 0; r < rows; ++r) {
                    float* const a = images + (i * rows + r) * row;
                    float* const b = images + (j * rows + r) * row;
                    const int y = static_cast<int>(r % height);
                    // In pieces within which neither box begins or ends.
                    const auto edge = [&](const MixDraw& draw, int side) {
                        return channels * (draw.box.x + side * draw.box.width);
                    };
                    std::int64_t ends[5] = {edge(first, 0), edge(first, 1), edge(second, 0), edge(second, 1),
                                            row};
                    std::sort(ends, ends + 4);
                    std::int64_t begin = 0;
                    for (const std::int64_t end : ends) {
                        const int column = static_cast<int>(begin / channels);
                        const bool in1 = first.box.contains(column, y), in2 = second.box.contains(column, y);
                        if (!first.cut || !second.cut || in1 || in2)
                            for (std::int64_t k = begin; k < end; ++k) {
                                const float own = a[k], other = b[k];
                                a[k] = first.mixed(own, other, in1);
                                b[k] = second.mixed(other, own, in2);
                            }
                        begin = end;
                    }
                }
            });
        });
}

}  // namespace onecycle::cpu
