// What several ranks add up: gradients, in the order of their numbers, the results of their batches,
// and the batch norms' statistics.
#include "kernels/all_reduce.h"

#include "device/cuda/collectives.h"
#include "ops/cuda/flat_table.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

// Two vectors of every rank become two of all.
BuiltOp of_all_ranks(const OpDesc& desc, const Context& context, bool statistics) {
    const std::vector<Partition> exchanges = require_pairs_of_ranks(desc);
    const std::int64_t pairs = 2 * desc.inputs[0].elements();
    return op_from(
        desc, static_cast<std::size_t>(pairs * desc.ranks) * sizeof(float),
        [=, channels = desc.inputs[0].elements(), own = desc.rank * pairs, count = desc.ranks,
         ranks = context.ranks](void* const* in, void* const* out, void* work, cudaStream_t stream) {
            auto* const parts = static_cast<float*>(work);
            put_pair(parts + own, input<float>(in, 0), input<float>(in, 1), channels, stream);
            for (const Partition& exchange : exchanges)
                ranks->gather(stream, static_cast<std::byte*>(work), exchange);
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
    const std::int64_t n = desc.inputs[0].elements();
    const TensorDesc* const half = reduction.halves ? &desc.inputs[1] : nullptr;
    return with_half_type(desc, half, n, [&]<typename Half>() {
        return op_from(desc, reduction.workspace,
                       [=, ranks = context.ranks,
                        table = reduction.halves ? half_table(desc, n, widen_piece) : FlatTable{}](
                           void* const* in, void* const* out, void* work, cudaStream_t stream) {
                           float* const gradients = output<float>(out, 0);
                           auto* const bytes = reinterpret_cast<std::byte*>(gradients);
                           if constexpr (!std::is_same_v<Half, float>)
                               widen_gradients(gradients, input<Half>(in, 1), table, stream);
                           for (const Reduction::Level& level : reduction.levels) {
                               ranks->scatter(stream, bytes, static_cast<std::byte*>(work), level.exchange);
                               // Sums that go on to another level replace the gradients.
                               float *sum = gradients + level.begin, *total = nullptr, *mean = nullptr;
                               const StepControl* control = nullptr;
                               if (&level == &reduction.levels.back()) {
                                   sum = reduction.summed ? output<float>(out, 1) + level.begin : nullptr;
                                   mean = reduction.last ? gradients + level.begin : nullptr;
                                   if (reduction.crosses) {
                                       total = output<float>(out, 2) + level.begin;
                                       control = input<StepControl>(in, reduction.halves ? 2 : 1);
                                   }
                               }
                               sum_in_order(sum, total, mean, static_cast<const float*>(work), level.elements,
                                            level.sum, control, stream);
                           }
                           if (!reduction.last) return;
                           for (auto level = reduction.levels.rbegin(); level != reduction.levels.rend();
                                ++level)
                               ranks->gather(stream, bytes, level->exchange);
                       });
    });
}

BuiltOp make_gather_results(const OpDesc& desc, const Context& context) {
    const std::vector<Partition> exchanges = require_results(desc);
    return op_from(desc, 0,
                   [exchanges, rank = desc.rank, ranks = context.ranks](void* const* in, void* const* out,
                                                                        void*, cudaStream_t stream) {
                       auto* const results = output<BatchResult>(out, 0);
                       note_result(results, input<BatchResult>(in, 0), input<StepProgress>(in, 1), rank,
                                   stream);
                       for (const Partition& exchange : exchanges)
                           ranks->gather(stream, reinterpret_cast<std::byte*>(results), exchange);
                   });
}

}  // namespace onecycle::ONECYCLE_CUDA
