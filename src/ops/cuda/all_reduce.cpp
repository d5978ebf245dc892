// What several ranks add up: gradients, in the order of ranks, and the results of their batches.
#include "kernels/all_reduce.h"

#include "device/cuda/collectives.h"
#include "ops/cuda/flat_table.h"

namespace onecycle::ONECYCLE_CUDA {

BuiltOp make_all_reduce(const OpDesc& desc, const Context& context) {
    const Reduction reduction = require_reduction(desc);
    const bool halves = desc.inputs.size() == 2;
    const std::int64_t n = desc.inputs[0].elements();
    const auto build = [&]<typename Half>() {
        return op_from(
            desc, reduction.workspace,
            [=, ranks = context.ranks, table = halves ? half_table(desc, n, widen_piece) : FlatTable{}](
                void* const* in, void* const* out, void* work, cudaStream_t stream) {
                float* const gradients = output<float>(out, 0);
                if constexpr (!std::is_same_v<Half, float>)
                    widen_gradients(gradients, input<Half>(in, 1), table, stream);
                ranks->scatter(stream, reinterpret_cast<const std::byte*>(gradients),
                               static_cast<std::byte*>(work), reduction.shares);
                sum_in_order(reduction.summed ? output<float>(out, 1) + reduction.begin : nullptr,
                             reduction.last ? gradients + reduction.begin : nullptr,
                             static_cast<const float*>(work), reduction.ranks, reduction.elements,
                             reduction.first, reduction.count, stream);
                if (reduction.last)
                    ranks->gather(stream, reinterpret_cast<std::byte*>(gradients), reduction.shares);
            });
    };
    if (!halves) return build.template operator()<float>();
    require_like(desc, desc.inputs[1], TensorDesc({n}, Layout::plain, desc.inputs[1].type),
                 "a 16-bit buffer");
    if (desc.inputs[1].type == DType::bf16) return build.template operator()<bf16>();
    require(desc.inputs[1].type == DType::f16, desc, "a 16-bit buffer is not of a 16-bit type");
    return build.template operator()<f16>();
}

BuiltOp make_gather_results(const OpDesc& desc, const Context& context) {
    const std::vector<Share> shares = require_results(desc);
    return op_from(desc, 0,
                   [shares, rank = desc.rank, ranks = context.ranks](void* const* in, void* const* out,
                                                                     void*, cudaStream_t stream) {
                       auto* const results = output<BatchResult>(out, 0);
                       note_result(results, input<BatchResult>(in, 0), input<StepProgress>(in, 1), rank,
                                   stream);
                       ranks->gather(stream, reinterpret_cast<std::byte*>(results), shares);
                   });
}

}  // namespace onecycle::ONECYCLE_CUDA
