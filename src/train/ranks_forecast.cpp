#include "train/ranks_forecast.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "onecycle/error.h"

namespace onecycle {

namespace {

constexpr double chunk = 128 << 10;  // bytes that a tree passes on at a time
// Bytes of a GPU's memory that a ring reads and writes for each byte of a bucket, times (n-1)/n:
// own and received numbers are read and their sum is sent, then what arrives is written and sent.
constexpr double memory_of_ring = 5;

double ring(double n, double bytes, double bytes_per_second, double hop) {
    return n < 2 ? 0 : 2 * (n - 1) * (bytes / n / bytes_per_second + hop);
}

// Two binary trees, each with half of the bytes: a node that passes on in one is a leaf of the
// other, so that each sends and receives all bytes twice. Sums go up while results of earlier pieces
// come down. The first piece meets two messages a level, of two children or to two; the others
// follow as fast as an adapter can.
double tree(double n, double bytes, double bytes_per_second, double hop) {
    if (n < 2) return 0;
    const double depth = std::ceil(std::log2(n));
    const double pieces = std::max(1.0, std::round(bytes / 2 / chunk)), piece = bytes / 2 / pieces;
    return (2 * depth - 1) * 2 * piece / bytes_per_second + 2 * depth * hop +
           (1 - 1 / pieces) * 2 * bytes / bytes_per_second;
}

struct Shares {
    double inside, nodes;
};
Shares shares_of(const Links& links, int ranks) {
    const int inside = std::min(links.node, ranks);
    return {static_cast<double>(inside), static_cast<double>(ranks) / inside};
}

double memory_seconds(const Profile& profile, const Links& links, int ranks, double bytes) {
    const auto [inside, nodes] = shares_of(links, ranks);
    const double moved = bytes * (inside - 1) / inside + bytes / inside * (nodes - 1) / nodes;
    return memory_of_ring * moved / profile.limits.bytes_per_second;
}

void check_ranks(const RanksOptions& options) {
    for (const int ranks : options.ranks)
        if (ranks < 1 || (ranks > options.links.node && ranks % options.links.node != 0))
            throw Error(ErrorKind::usage, "bad option", fmt::format("--ranks {}", ranks),
                        fmt::format("they do not fill nodes of {}", options.links.node),
                        fmt::format("use --ranks {}, or other --ranks-per-node",
                                    std::max(1, ranks / options.links.node) * options.links.node));
}

RanksForecast forecast(const Profile& profile, const std::vector<Transfer>& transfers, const Links& links,
                       int ranks) {
    RanksForecast result{.ranks = ranks, .nodes = static_cast<int>(shares_of(links, ranks).nodes)};
    double until_update = 0, update = 0;
    for (const ProfiledStep& step : profile.steps)
        (step.phase == name_of(Phase::update) ? update : until_update) += step.limit;
    double done = 0, largest = 0;
    for (const Transfer& transfer : transfers) {
        const auto bytes = static_cast<double>(transfer.bytes);
        const AllReduceTime time = all_reduce_time(links, ranks, bytes);
        // What was summed before has slowed the step down until here.
        const double start = std::max(done, transfer.ready + result.memory);
        done = start + time.seconds;
        result.starts.push_back(start);
        result.ends.push_back(done);
        result.wire += time.seconds;
        if (start < until_update + result.memory)
            result.memory += memory_seconds(profile, links, ranks, bytes);
        if (bytes > largest) {
            largest = bytes;
            result.between = time.between;
        }
    }
    const double computed = until_update + result.memory;
    result.exposed = std::max(0.0, done - computed);
    result.step = computed + result.exposed + update;
    result.images_per_second = ranks * profile.options.train.batch_size / result.step;
    result.efficiency = (until_update + update) / result.step;
    return result;
}

// Images/s of one core, as measured (docs/scale.md says how): JPEGs of 500 x 375 px from their
// files, of 256 px as `pack --size 256` leaves them, and views of images that are kept in memory.
constexpr double decoded_a_core = 248, packed_a_core = 483, kept_a_core = 1465;

std::vector<InputForecast> inputs_for(double images_per_second, const RanksOptions& options) {
    std::vector<InputForecast> inputs = {
        {"folder", options.decode_rate > 0 ? options.decode_rate : decoded_a_core},
        {"shards", options.decode_rate > 0 ? options.decode_rate : decoded_a_core},
        {"packed to 256 px", packed_a_core},
        {"kept in memory", kept_a_core},
        {"resident", 0}};
    for (InputForecast& input : inputs) {
        if (input.images_per_core > 0) input.cores = images_per_second / input.images_per_core;
        input.enough = input.cores <= options.cores;
    }
    return inputs;
}

}  // namespace

AllReduceTime all_reduce_time(const Links& links, int ranks, double bytes) {
    const auto [inside, nodes] = shares_of(links, ranks);
    const double by_ring = ring(nodes, bytes / inside, links.between, links.between_hop),
                 by_tree = tree(nodes, bytes / inside, links.between, links.between_hop);
    return {ring(inside, bytes, links.inside, links.inside_hop) + std::min(by_ring, by_tree),
            nodes < 2           ? ""
            : by_tree < by_ring ? "tree"
                                : "ring"};
}

std::vector<Transfer> transfers_of(const Profile& profile) {
    std::vector<double> ends;  // of each step
    double at = 0;
    for (const ProfiledStep& step : profile.steps) ends.push_back(at += step.limit);
    std::vector<Transfer> transfers;
    const auto close = [&](Transfer& open) {
        if (open.bytes == 0) return;
        open.ready = ends[static_cast<std::size_t>(open.ready_step)];
        transfers.push_back(open);
        open.bytes = 0;
        open.ready_step = 0;
    };
    for (const char* space : {name_of(Space::gradients), name_of(Space::half_gradients)}) {
        Transfer open{.what = space};
        for (const GradientPart& part : profile.gradients) {
            if (part.space != space) continue;
            open.bytes += part.bytes;
            open.ready_step = std::max(open.ready_step, part.step);
            if (open.bytes >= bucket_bytes) close(open);
        }
        close(open);
    }
    // Running statistics of batch norms and the sums of losses: small, and ready before backward.
    Transfer statistics{.what = "statistics", .bytes = profile.statistics_bytes},
        result{.what = "result", .bytes = sizeof(BatchResult)};
    for (std::size_t i = 0; i < profile.steps.size(); ++i) {
        if (profile.steps[i].phase == name_of(Phase::forward)) statistics.ready_step = static_cast<int>(i);
        if (profile.steps[i].phase == name_of(Phase::loss)) result.ready_step = static_cast<int>(i);
    }
    close(statistics);
    close(result);
    std::ranges::stable_sort(transfers, {}, &Transfer::ready);
    return transfers;
}

ScaleForecast forecast_ranks(const Profile& profile, const RanksOptions& options) {
    check_ranks(options);
    ScaleForecast result{.options = options, .transfers = transfers_of(profile)};
    for (const int ranks : options.ranks) {
        result.ranks.push_back(forecast(profile, result.transfers, options.links, ranks));
        result.images_per_rank =
            std::max(result.images_per_rank, result.ranks.back().images_per_second / ranks);
    }
    result.inputs = inputs_for(result.images_per_rank, options);
    return result;
}

}  // namespace onecycle
