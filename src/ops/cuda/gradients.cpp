// Gradients between backward and update.
#include "kernels/gradients.h"

#include "ops/cuda/flat_table.h"

namespace onecycle::ONECYCLE_CUDA {

// Without 16-bit gradients the sum covers the whole buffer, as on the CPU; with them, what is
// trained.
BuiltOp make_accumulate_gradients(const OpDesc& desc, const Context&) {
    const MicroPass pass = require_accumulation(desc);
    const std::int64_t n = desc.inputs[0].elements();
    return with_half_type(desc, pass.halves ? &desc.inputs[1] : nullptr, n, [&]<typename Half>() {
        return op_from(desc, 0,
                       [=, table = pass.halves ? flat_table(desc, n, gradient_piece, false, true)
                                               : whole_table(desc, n, gradient_piece)](
                           void* const* in, void* const* out, void*, cudaStream_t stream) {
                           const std::size_t last_input = pass.halves ? 2 : 1, mean = pass.crosses ? 2 : 1;
                           accumulate_gradients(
                               output<float>(out, 0), pass.crosses ? output<float>(out, 1) : nullptr,
                               pass.last ? output<float>(out, mean) : nullptr, input<float>(in, 0),
                               pass.halves ? input<Half>(in, 1) : nullptr, pass.sum,
                               pass.crosses ? input<StepControl>(in, last_input) : nullptr, table, stream);
                       });
    });
}

BuiltOp make_check_gradients(const OpDesc& desc, const Context&) {
    const bool halves = desc.inputs.size() == 4;
    require_operands(desc, halves ? 4 : 3, 1);
    const std::int64_t n = desc.inputs[0].elements();
    require_plain(desc, desc.inputs[0], {n}, "a flat buffer");
    return with_half_type(desc, halves ? &desc.inputs[1] : nullptr, n, [&]<typename Half>() {
        const FlatTable table = flat_table(desc, n, gradient_piece, false, halves);
        return op_from(desc, static_cast<std::size_t>(table.pieces) * sizeof(double),
                       [=, clip_norm = desc.optimizer.clip_norm, scaled = desc.loss_scale, ranks = desc.ranks,
                        summed = desc.accumulation > 1](void* const* in, void* const* out, void* work,
                                                        cudaStream_t stream) {
                           const std::size_t result = halves ? 2 : 1;
                           check_gradients(
                               output<GradientCheck>(out, 0), static_cast<double*>(work), input<float>(in, 0),
                               halves ? input<Half>(in, 1) : nullptr, input<BatchResult>(in, result), ranks,
                               summed, input<StepControl>(in, result + 1), clip_norm, scaled, table, stream);
                       });
    });
}

}  // namespace onecycle::ONECYCLE_CUDA
