// Counts of what a classifier takes each class for.
#include <algorithm>

#include "ops/cpu/builders.h"

namespace onecycle::cpu {

BuiltOp make_confusion(const OpDesc& desc, const Context&) {
    require_confusion(desc);
    return op_from(
        desc, 0,
        [images = desc.inputs[0][0], classes = desc.inputs[0][1]](void* const* in, void* const* out, void*) {
            const float* const logits = floats(in[0]);
            const auto* labels = static_cast<const std::int32_t*>(in[1]);
            const std::int64_t count =
                std::min<std::int64_t>(images, *static_cast<const std::int32_t*>(in[2]));
            auto* const counts = static_cast<std::int32_t*>(out[0]);
            for (std::int64_t i = 0; i < count; ++i) {
                const float* const row = logits + i * classes;
                ++counts[labels[i] * classes + (std::max_element(row, row + classes) - row)];
            }
        });
}

}  // namespace onecycle::cpu
