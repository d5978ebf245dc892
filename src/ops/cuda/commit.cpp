// The end of a step, and sums of results.
#include "kernels/commit.h"

#include "ops/cuda/builders.h"

namespace onecycle::ONECYCLE_CUDA {

BuiltOp make_commit_step(const OpDesc& desc, const Context&) {
    require_operands(desc, 2, 2);
    return op_from(desc, 0,
                   [ranks = desc.ranks, summed = desc.accumulation > 1, scaled = desc.loss_scale](
                       void* const* in, void* const* out, void*, cudaStream_t stream) {
                       commit_step(output<StepControl>(out, 0), output<StepProgress>(out, 1),
                                   input<BatchResult>(in, 0), ranks, input<GradientCheck>(in, 1), summed,
                                   scaled, stream);
                   });
}

BuiltOp make_add_metrics(const OpDesc& desc, const Context&) {
    require_operands(desc, 1, 1);
    return op_from(desc, 0,
                   [micro = desc.accumulation > 1, ranks = desc.ranks](void* const* in, void* const* out,
                                                                       void*, cudaStream_t stream) {
                       add_metrics(output<StepControl>(out, 0), input<BatchResult>(in, 0), ranks, micro,
                                   stream);
                   });
}

}  // namespace onecycle::ONECYCLE_CUDA
