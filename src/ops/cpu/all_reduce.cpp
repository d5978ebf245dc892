// What several ranks add up: gradients, in the order of their numbers, the results of their batches,
// and the batch norms' statistics.
#include <algorithm>

#include "device/communicator.h"
#include "ops/cpu/builders.h"
#include "ops/cpu/sum_in_order.h"
#include "rules/control.h"
#include "rules/norm_rules.h"

namespace onecycle::cpu {

namespace {

// Two vectors of every rank become two of all, by `rule` in norm_rules.h.
template <typename Rule>
BuiltOp of_all_ranks(const OpDesc& desc, const Context& context, Rule rule) {
    const std::vector<Partition> exchanges = require_pairs_of_ranks(desc);
    const std::int64_t pairs = 2 * desc.inputs[0].elements();
    return op_from(
        desc, static_cast<std::size_t>(pairs * desc.ranks) * sizeof(float),
        [exchanges, rule, channels = desc.inputs[0].elements(), own = desc.rank * pairs, count = desc.ranks,
         ranks = context.ranks](void* const* in, void* const* out, void* work) {
            for (std::size_t i = 0; i < 2; ++i)
                std::copy_n(floats(in[i]), channels,
                            floats_out(work) + own + static_cast<std::int64_t>(i) * channels);
            for (const Partition& exchange : exchanges)
                ranks->gather(static_cast<std::byte*>(work), exchange);
            for (std::int64_t c = 0; c < channels; ++c) {
                const ChannelPair pair = rule(floats(work), count, channels, c);
                floats_out(out[0])[c] = pair.first;
                floats_out(out[1])[c] = pair.second;
            }
        });
}

}  // namespace

BuiltOp make_combine_statistics(const OpDesc& desc, const Context& context) {
    return of_all_ranks(desc, context, combined_statistics);
}

BuiltOp make_average_gradients(const OpDesc& desc, const Context& context) {
    return of_all_ranks(desc, context, average_of_ranks);
}

BuiltOp make_all_reduce(const OpDesc& desc, const Context& context) {
    const Reduction reduction = require_reduction(desc);
    require(!reduction.halves, desc, "this back end has no 16-bit gradients");
    return op_from(desc, reduction.workspace,
                   [reduction, threads = context.threads, ranks = context.ranks](
                       void* const* in, void* const* out, void* work) {
                       float* const gradients = floats_out(out[0]);
                       auto* const bytes = reinterpret_cast<std::byte*>(gradients);
                       for (const Reduction::Level& level : reduction.levels) {
                           ranks->scatter(bytes, static_cast<std::byte*>(work), level.exchange);
                           SumPass pass = level.sum;
                           // Sums that go on to another level replace the gradients.
                           float *sum = gradients + level.begin, *total = nullptr, *mean = nullptr;
                           if (&level == &reduction.levels.back()) {
                               sum = reduction.summed ? floats_out(out[1]) + level.begin : nullptr;
                               mean = reduction.last ? gradients + level.begin : nullptr;
                               if (reduction.crosses) {
                                   total = floats_out(out[2]) + level.begin;
                                   pass.before = pass.parts * static_cast<const StepControl*>(in[1])->micro;
                               }
                           }
                           parallel_flat(threads, level.elements, [&](Range range) {
                               sum_in_order(sum, total, mean, floats(work), level.elements, pass, range);
                           });
                       }
                       if (!reduction.last) return;
                       for (auto level = reduction.levels.rbegin(); level != reduction.levels.rend(); ++level)
                           ranks->gather(bytes, level->exchange);
                   });
}

BuiltOp make_gather_results(const OpDesc& desc, const Context& context) {
    const std::vector<Partition> exchanges = require_results(desc);
    return op_from(
        desc, 0,
        [exchanges, rank = desc.rank, ranks = context.ranks](void* const* in, void* const* out, void*) {
            auto* const results = static_cast<BatchResult*>(out[0]);
            results[rank] = *static_cast<const BatchResult*>(in[0]);
            results[rank].stop_wanted = static_cast<const StepProgress*>(in[1])->stop_wanted;
            for (const Partition& exchange : exchanges)
                ranks->gather(reinterpret_cast<std::byte*>(results), exchange);
        });
}

}  // namespace onecycle::cpu
