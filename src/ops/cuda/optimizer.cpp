// The update of the weights.
#include "kernels/optimizer.h"

#include "ops/cuda/flat_table.h"
#include "rules/optimizer_rules.h"

namespace onecycle::ONECYCLE_CUDA {

BuiltOp make_update_parameters(const OpDesc& desc, const Context& context) {
    const bool two_moments = has_second_moment(desc.optimizer.kind);
    const bool adapted = has_trust_ratio(desc.optimizer.kind);
    const std::size_t all = adapted ? 4 : 3;  // inputs without 16-bit gradients
    const bool half_gradients = desc.inputs.size() == all + 1;
    const bool with_ema = desc.optimizer.ema_decay > 0;
    const std::size_t full = two_moments ? 3 : 2;  // outputs without average and 16-bit copies
    const bool halves = desc.outputs.size() > full + (with_ema ? 1 : 0);
    const std::size_t ema = halves ? full + 1 : full, emas = halves ? 2 : 1;
    require_operands(desc, half_gradients ? all + 1 : all, with_ema ? ema + emas : ema);
    if (adapted)
        require_plain(desc, desc.inputs.back(), {static_cast<std::int64_t>(desc.parameters.size())},
                      "ratios");
    const std::int64_t n = desc.inputs[0].elements();
    require_plain(desc, desc.inputs[0], {n}, "a flat buffer");
    for (std::size_t i = 0; i < full; ++i) require_plain(desc, desc.outputs[i], {n}, "a flat buffer");
    if (with_ema) require_plain(desc, desc.outputs[ema], {n}, "a flat buffer");
    if (with_ema && halves) require_like(desc, desc.outputs[ema + 1], desc.outputs[full], "a 16-bit buffer");
    if (halves && half_gradients)
        require(desc.inputs[1].type == desc.outputs[full].type, desc, "16-bit buffers are of two types");
    for (const ParameterSegment& s : desc.parameters)
        require(halves || s.frozen || !s.half, desc, "a 16-bit copy is kept but not given");
    const TensorDesc* half = halves ? &desc.outputs[full] : half_gradients ? &desc.inputs[1] : nullptr;
    return with_half_type(desc, half, n, [&]<typename Half>() {
        return op_from(
            desc, 0,
            [=, options = desc.optimizer, multiprocessors = context.multiprocessors,
             table = flat_table(desc, n, optimizer_piece, halves, half_gradients)](
                void* const* in, void* const* out, void*, cudaStream_t stream) {
                const std::size_t check = half_gradients ? 2 : 1;
                update_parameters(
                    output<float>(out, 0), output<float>(out, 1),
                    two_moments ? output<float>(out, 2) : nullptr, halves ? output<Half>(out, full) : nullptr,
                    with_ema ? output<float>(out, ema) : nullptr,
                    with_ema && halves ? output<Half>(out, ema + 1) : nullptr, input<float>(in, 0),
                    half_gradients ? input<Half>(in, 1) : nullptr, input<GradientCheck>(in, check),
                    input<StepControl>(in, check + 1), adapted ? input<float>(in, check + 2) : nullptr,
                    options, table, multiprocessors, stream);
            });
    });
}

}  // namespace onecycle::ONECYCLE_CUDA
