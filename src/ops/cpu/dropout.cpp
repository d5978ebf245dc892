// y = x * (0 or 1 / (1 - p)), by the numbers of this update.
#include "ops/cpu/builders.h"
#include "ops/cpu/parallel.h"
#include "rules/control.h"
#include "rules/dropout_rules.h"

namespace onecycle::cpu {

BuiltOp make_dropout(const OpDesc& given, const Context& context) {
    require_operands(given, 2, 1);
    OpDesc desc = given;
    const TensorDesc& x = desc.inputs[0];
    require(x.type == DType::f32, desc, "x is f32");
    require(desc.dropout >= 0 && desc.dropout < 1, desc, "its share is not at least 0 and below 1");
    adopt_layout(desc, 0, x.layout);
    require_like(desc, desc.outputs[0], x, "y");
    require(x.layout == Layout::plain && x.elements() < std::int64_t{1} << 34, desc,
            "x is not in plain order, or has 2^34 elements or more");
    const DropoutRule rule(desc.dropout, desc.seed, desc.dropout_layer);
    return op_from(
        desc, 0,
        [rule, n = x.elements(), threads = context.threads](void* const* in, void* const* out, void*) {
            const float* const from = floats(in[0]);
            float* const to = floats_out(out[0]);
            const RandomStream numbers = rule.numbers(*static_cast<const StepControl*>(in[1]));
            parallel_flat(threads_for(threads, 8 * n), n, [&](Range range) {
                for (std::int64_t i = range.begin; i < range.end; i += 4) {
                    const PhiloxBlock random = numbers.block(static_cast<std::uint32_t>(i / 4));
                    for (std::int64_t k = i; k < std::min(i + 4, range.end); ++k)
                        to[k] = from[k] * rule.factor(random.word[k - i]);
                }
            });
        });
}

}  // namespace onecycle::cpu
