#include "ops/exchanges.h"

#include "rules/sum_order.h"

namespace onecycle {

namespace {

// The group of a rank, and the ranks of its place in each group.
Members group_of(const OpDesc& desc) {
    return {.first = desc.rank - desc.rank % summed_group, .count = summed_group};
}
Members peers_of(const OpDesc& desc) {
    return {.first = desc.rank % summed_group, .stride = summed_group, .count = desc.ranks / summed_group};
}

// Part of a buffer that members share, in shares of whole vectors.
Partition among(const Members& members, const Share& part) {
    constexpr std::int64_t vector_elements = 4;
    Partition exchange{members, shares_of(static_cast<std::int64_t>(part.bytes / sizeof(float)),
                                          sizeof(float), members.count, vector_elements)};
    for (Share& share : exchange.shares) share.offset += part.offset;
    return exchange;
}

}  // namespace

std::vector<Partition> reducing_exchanges(const OpDesc& desc, std::int64_t elements) {
    const Share bucket{0, static_cast<std::size_t>(elements) * sizeof(float)};
    if (!desc.two_levels) return {among({.count = desc.ranks}, bucket)};
    const Partition within = among(group_of(desc), bucket);
    return {within, among(peers_of(desc), within.share_of(desc.rank))};
}

std::vector<Partition> gathering_exchanges(const OpDesc& desc, std::size_t bytes) {
    const auto equal = [&](std::size_t first, int count, std::size_t size) {
        std::vector<Share> shares;
        for (int i = 0; i < count; ++i)
            shares.push_back({first * bytes + static_cast<std::size_t>(i) * size, size});
        return shares;
    };
    if (!desc.two_levels) return {among_all(equal(0, desc.ranks, bytes))};
    const Members group = group_of(desc), peers = peers_of(desc);
    return {{group, equal(static_cast<std::size_t>(group.first), group.count, bytes)},
            {peers, equal(0, peers.count, summed_group * bytes)}};
}

std::vector<Partition> exchanges_of(const OpDesc& desc) {
    switch (desc.kind) {
        case OpKind::all_reduce: {
            const std::vector<Partition> there = reducing_exchanges(desc, desc.inputs[0].elements());
            std::vector<Partition> all = there;
            if (desc.micro == desc.accumulation - 1)  // earlier ones only sum
                all.insert(all.end(), there.rbegin(), there.rend());
            return all;
        }
        case OpKind::gather_results:
            return gathering_exchanges(desc, desc.inputs[0].bytes());
        case OpKind::combine_statistics:
        case OpKind::average_gradients:
            return gathering_exchanges(desc, 2 * desc.inputs[0].bytes());
        default:
            return {};
    }
}

double mean_share(const Partition& exchange) {
    double bytes = 0;
    for (const Share& share : exchange.shares) bytes += static_cast<double>(share.bytes);
    return bytes / exchange.members.count;
}

}  // namespace onecycle
