// What several ranks add up: gradients, in the order of ranks, the results of their batches, and the
// batch norms' statistics.
#include "kernels/all_reduce.h"

#include "device/cuda/collectives.h"
#include "ops/cuda/flat_table.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

// Two vectors of every rank become two of all.
BuiltOp of_all_ranks(const OpDesc& desc, const Context& context, bool statistics) {
    const std::vector<Share> shares = require_pairs_of_ranks(desc);
    const Share own = shares[static_cast<std::size_t>(desc.rank)];
    return op_from(desc, own.bytes * shares.size(),
                   [=, channels = desc.inputs[0].elements(), count = desc.ranks, ranks = context.ranks](
                       void* const* in, void* const* out, void* work, cudaStream_t stream) {
                       auto* const bytes = static_cast<std::byte*>(work);
                       put_pair(reinterpret_cast<float*>(bytes + own.offset), input<float>(in, 0),
                                input<float>(in, 1), channels, stream);
                       ranks->gather(stream, bytes, shares);
                       const auto* const parts = static_cast<const float*>(work);
                       const auto combine = statistics ? combine_statistics : average_pairs;
                       combine(output<float>(out, 0), output<float>(out, 1), parts, count, channels, stream);
                   });
}

}  // namespace

BuiltOp make_combine_statistics(const OpDesc& desc, const Context& context) {
    return of_all_ranks(desc, context, true);
}

BuiltOp make_average_gradients(const OpDesc& desc, const Context& context) {
    return of_all_ranks(desc, context, false);
}

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
                   [shares, rank = desc.rank, ranks = context.ranks](void* const* in, void* const* out, void*,
                                                                     cudaStream_t stream) {
                       auto* const results = output<BatchResult>(out, 0);
                       note_result(results, input<BatchResult>(in, 0), input<StepProgress>(in, 1), rank,
                                   stream);
                       ranks->gather(stream, reinterpret_cast<std::byte*>(results), shares);
                   });
}

}  // namespace onecycle::ONECYCLE_CUDA
