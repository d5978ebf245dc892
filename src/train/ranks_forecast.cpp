#include "train/ranks_forecast.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "onecycle/error.h"
#include "rules/sum_order.h"

namespace onecycle {

namespace {

// Bytes of a GPU's memory that are read or written for each byte that a rank sends: by sender and
// receiver, and again by both, since NCCL passes it through a buffer of its own. A program counts
// the first two.
constexpr double memory_of_sent = 4, counted_of_sent = 2;

double sent(const ProfiledStep& step) {
    double bytes = 0;
    for (const auto& messages : step.exchanges) bytes += (messages.ranks - 1) * messages.bytes;
    return bytes;
}

void check_ranks(const RanksOptions& options) {
    for (const int ranks : options.ranks)
        if (ranks < 1 || (ranks > options.links.node && ranks % options.links.node != 0))
            throw Error(ErrorKind::usage, "bad option", fmt::format("--ranks {}", ranks),
                        fmt::format("they do not fill nodes of {}", options.links.node),
                        fmt::format("use --ranks {}, or other --ranks-per-node",
                                    std::max(1, ranks / options.links.node) * options.links.node));
}

// `alone`: the step of a single rank.
RanksForecast forecast(Profile profile, const Links& links, int ranks, double alone) {
    RanksForecast result{.ranks = ranks, .nodes = ranks / std::min(links.node, ranks)};
    double until_update = 0, update = 0;
    std::vector<double> ends;  // of each step
    for (const ProfiledStep& step : profile.steps) {
        if (step.exchanges.empty())
            (step.phase == name_of(Phase::update) ? update : until_update) += step.limit;
        ends.push_back(until_update + update);
    }
    double done = 0;
    for (const ProfiledStep& step : profile.steps) {
        if (step.exchanges.empty()) continue;
        Transfer transfer{
            .name = step.name, .bytes = step.exchanged, .exchanges = static_cast<int>(step.exchanges.size())};
        if (!result.transfers.empty()) transfer.ready = result.transfers.back().ready;
        for (const int wait : step.waits)
            transfer.ready = std::max(transfer.ready, ends[static_cast<std::size_t>(wait)]);
        const double bandwidth = profile.limits.bytes_per_second, moved = sent(step) / bandwidth,
                     kernels = step.limit - counted_of_sent * moved;
        // What was sent before has slowed the step down until here. Kernels that run beside it share
        // the GPU with it.
        transfer.start = std::max(done, transfer.ready + result.memory);
        const bool beside = transfer.start < until_update + result.memory;
        transfer.end = transfer.start + (beside ? 2 : 1) * kernels;
        for (const auto& messages : step.exchanges) transfer.end += exchange_time(links, messages);
        done = transfer.end;
        result.wire += transfer.end - transfer.start;
        if (beside) result.memory += kernels + memory_of_sent * moved;
        result.transfers.push_back(std::move(transfer));
    }
    const double computed = until_update + result.memory;
    result.exposed = std::max(0.0, done - computed);
    result.step = computed + result.exposed + update;
    result.images_per_second = ranks * profile.options.train.batch_size / result.step;
    result.efficiency = alone / result.step;
    result.steps = std::move(profile.steps);
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

double exchange_time(const Links& links, const ProfiledStep::Messages& messages) {
    const int inside = std::min(messages.ranks, std::max(1, links.node / messages.apart));
    const auto port = [&](int count, double bytes_per_second, double hop) {
        return count == 0 ? 0 : count * (messages.bytes / bytes_per_second + links.message) + hop;
    };
    return std::max(port(inside - 1, links.inside, links.inside_hop),
                    port(messages.ranks - inside, links.between, links.between_hop));
}

bool use_two_levels(const Links& links, int ranks) {
    return are_whole_groups(ranks) && (ranks <= links.node || links.node % summed_group == 0);
}

ScaleForecast forecast_ranks(const std::function<Profile(int ranks)>& profile_of,
                             const RanksOptions& options) {
    check_ranks(options);
    ScaleForecast result{.options = options};
    const double alone = profile_of(1).limit();
    for (const int ranks : options.ranks) {
        result.ranks.push_back(forecast(profile_of(ranks), options.links, ranks, alone));
        result.images_per_rank =
            std::max(result.images_per_rank, result.ranks.back().images_per_second / ranks);
    }
    result.inputs = inputs_for(result.images_per_rank, options);
    return result;
}

}  // namespace onecycle
