// What a data-parallel training would reach on machines that are not here: the step of a profile,
// held against the speed of the links between the ranks. Nothing is run.
//
// The model: every rank computes the step of the profile. Its gradients are summed over the ranks
// in buckets of about 8 MiB, on a stream of their own: a bucket starts when its last gradient is ready
// and the bucket before it is done. Ring: the ranks pass each bucket round twice in pieces of 1/n.
// Between nodes, ranks with the same place in their node form a ring (or two binary trees, where
// that is faster) for a share of the bucket each. The sums pass through the GPU's memory beside the
// step: that is added to its time. The update begins when all has arrived.
#pragma once

#include <string>
#include <vector>

#include "train/profile.h"

namespace onecycle {

// What joins the ranks. GB/s are of one direction, and of one rank.
struct Links {
    double inside = 450e9;      // bytes/s between ranks of a node: NVLink 4, 18 links
    double between = 50e9;      // bytes/s between nodes: 400 Gb/s for each GPU
    double inside_hop = 2e-6;   // seconds until a message arrives, beside its bytes
    double between_hop = 5e-6;  // likewise
    int node = 8;               // ranks in a node
};

// Images that a rank's loader makes, one way of keeping them.
struct InputForecast {
    std::string name;
    double images_per_core = 0;  // a second; 0: no core is needed
    double cores = 0;            // that a rank needs
    bool enough = false;         // of the cores that a rank has
};

struct Transfer {
    std::string what;  // "gradients", "half_gradients", "statistics", "result"
    std::size_t bytes = 0;
    int ready_step = 0;  // after which of the profile's steps it may start
    double ready = 0;    // seconds from the start of the step, at the limits
};

struct RanksForecast {
    int ranks = 1, nodes = 1;
    std::string between;               // "ring", "tree" or "", what the largest bucket takes between nodes
    double wire = 0;                   // seconds that all transfers take, one after the other
    double exposed = 0;                // of them, what the update waits for
    double memory = 0;                 // seconds that the sums take of the GPU's memory
    double step = 0;                   // seconds
    double images_per_second = 0;      // of all ranks
    double efficiency = 0;             // against so many steps of a single rank
    std::vector<double> starts, ends;  // of the transfers
};

struct RanksOptions {
    std::vector<int> ranks;
    Links links{};
    double cores = 14;       // of a rank: two processors of 56 cores for eight GPUs
    double decode_rate = 0;  // images/s that a core decodes from the files; 0: as measured, see docs/scale.md
};

struct ScaleForecast {
    RanksOptions options;
    std::vector<Transfer> transfers;  // in the order of their start
    std::vector<RanksForecast> ranks;
    std::vector<InputForecast> inputs;  // for the fastest step of these ranks
    double images_per_rank = 0;         // a second, that an input must deliver
};

// Bytes of a bucket at which it is closed.
inline constexpr std::size_t bucket_bytes = std::size_t{8} << 20;

// The least time to sum `bytes` over so many ranks, and what is used between nodes.
struct AllReduceTime {
    double seconds = 0;
    std::string between;
};
AllReduceTime all_reduce_time(const Links& links, int ranks, double bytes);

// Gradients in buckets, in the order of the backward pass; frozen ones are left out.
std::vector<Transfer> transfers_of(const Profile& profile);

// Throws Error(usage) for ranks that do not fill their nodes.
ScaleForecast forecast_ranks(const Profile& profile, const RanksOptions& options);

}  // namespace onecycle
