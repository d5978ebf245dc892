// What LARS and LAMB multiply each parameter's rate by.
#include "kernels/trust_ratio.h"

#include "ops/cuda/flat_table.h"
#include "rules/optimizer_rules.h"

namespace onecycle::ONECYCLE_CUDA {

BuiltOp make_trust_ratio(const OpDesc& desc, const Context& context) {
    require(has_trust_ratio(desc.optimizer.kind), desc, "this optimizer has no trust ratios");
    const bool lamb = desc.optimizer.kind == OptimizerKind::lamb;
    const std::size_t all = lamb ? 6 : 4;  // operands without 16-bit gradients
    const bool halves = desc.inputs.size() == all + 1;
    require_operands(desc, halves ? all + 1 : all, 1);
    const std::size_t check = halves ? 2 : 1;
    const std::int64_t n = desc.inputs[0].elements();
    require_plain(desc, desc.inputs[0], {n}, "a flat buffer");
    for (std::size_t i = check + 2; i < desc.inputs.size(); ++i)
        require_plain(desc, desc.inputs[i], {n}, "a flat buffer");
    require_plain(desc, desc.outputs[0], {static_cast<std::int64_t>(desc.parameters.size())}, "ratios");
    return with_half_type(desc, halves ? &desc.inputs[1] : nullptr, n, [&]<typename Half>() {
        const FlatTable table = flat_table(desc, n, trust_ratio_piece, false, halves);
        return op_from(desc, static_cast<std::size_t>(table.pieces) * sizeof(NormSquares),
                       [=, options = desc.optimizer, multiprocessors = context.multiprocessors](
                           void* const* in, void* const* out, void* work, cudaStream_t stream) {
                           trust_ratio(
                               output<float>(out, 0), static_cast<NormSquares*>(work),
                               input<float>(in, check + 2), lamb ? input<float>(in, check + 3) : nullptr,
                               lamb ? input<float>(in, check + 4) : nullptr, input<float>(in, 0),
                               halves ? input<Half>(in, 1) : nullptr, input<GradientCheck>(in, check),
                               input<StepControl>(in, check + 1), options, table, multiprocessors, stream);
                       });
    });
}

}  // namespace onecycle::ONECYCLE_CUDA
