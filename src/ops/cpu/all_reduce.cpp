// What several ranks add up: gradients, in the order of ranks, the results of their batches, and the
// batch norms' statistics.
#include <algorithm>

#include "device/communicator.h"
#include "ops/cpu/builders.h"
#include "ops/cpu/parallel.h"
#include "rules/control.h"
#include "rules/norm_rules.h"

namespace onecycle::cpu {

namespace {

// See sum_in_order in kernels/all_reduce.cu: the same additions.
void sum_in_order(float* sum, float* mean, const float* parts, int ranks, std::int64_t n, bool first,
                  float count, Range range) {
    for (std::int64_t i = range.begin; i < range.end; ++i) {
        float total = first ? parts[i] : sum[i] + parts[i];
        for (int r = 1; r < ranks; ++r) total += parts[r * n + i];
        if (sum) sum[i] = total;
        if (mean) mean[i] = total / count;
    }
}

// Two vectors of every rank become two of all, by `rule` in norm_rules.h.
template <typename Rule>
BuiltOp of_all_ranks(const OpDesc& desc, const Context& context, Rule rule) {
    const std::vector<Share> shares = require_pairs_of_ranks(desc);
    const Share own = shares[static_cast<std::size_t>(desc.rank)];
    return op_from(desc, own.bytes * shares.size(),
                   [shares, own, rule, channels = desc.inputs[0].elements(), count = desc.ranks,
                    ranks = context.ranks](void* const* in, void* const* out, void* work) {
                       auto* const bytes = static_cast<std::byte*>(work);
                       auto* const mine = reinterpret_cast<float*>(bytes + own.offset);
                       for (std::size_t i = 0; i < 2; ++i)
                           std::copy_n(floats(in[i]), channels,
                                       mine + static_cast<std::int64_t>(i) * channels);
                       ranks->gather(bytes, shares);
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
    require(desc.inputs.size() == 1, desc, "this back end has no 16-bit gradients");
    return op_from(desc, reduction.workspace,
                   [reduction, threads = context.threads, ranks = context.ranks](
                       void* const* in, void* const* out, void* work) {
                       float* const gradients = floats_out(out[0]);
                       auto* const bytes = reinterpret_cast<std::byte*>(gradients);
                       const std::int64_t begin = reduction.begin, n = reduction.elements;
                       float* const sum = reduction.summed ? floats_out(out[1]) + begin : nullptr;
                       ranks->scatter(reinterpret_cast<const std::byte*>(in[0]),
                                      static_cast<std::byte*>(work), reduction.shares);
                       parallel_flat(threads, n, [&](Range range) {
                           sum_in_order(sum, reduction.last ? gradients + begin : nullptr, floats(work),
                                        reduction.ranks, n, reduction.first, reduction.count, range);
                       });
                       if (reduction.last) ranks->gather(bytes, reduction.shares);
                   });
}

BuiltOp make_gather_results(const OpDesc& desc, const Context& context) {
    const std::vector<Share> shares = require_results(desc);
    return op_from(
        desc, 0, [shares, rank = desc.rank, ranks = context.ranks](void* const* in, void* const* out, void*) {
            auto* const results = static_cast<BatchResult*>(out[0]);
            results[rank] = *static_cast<const BatchResult*>(in[0]);
            results[rank].stop_wanted = static_cast<const StepProgress*>(in[1])->stop_wanted;
            ranks->gather(reinterpret_cast<std::byte*>(results), shares);
        });
}

}  // namespace onecycle::cpu
