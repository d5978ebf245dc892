// What a data-parallel training would reach on machines that are not here: the program of a rank
// (its least times, the buckets that it exchanges and what they wait for) held against the speed of
// the links between the ranks. Nothing is run.
//
// The model: an all_reduce is exchanges one after the other, in which each of some ranks sends to each
// other one: shares of the bucket, and then their sums back, in the node and between nodes. A rank
// has two ports, one into its node and one out of it. A port sends one message at a time, and each
// costs it its bytes and a fixed time, as in LogGP (Alexandrov et al. 1995). What runs and is copied
// on the GPU for it is taken from the step that it runs beside. The update begins when all has
// arrived.
#pragma once

#include <functional>
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
    double message = 1e-6;      // seconds that a port is busy with each message, beside its bytes
    int node = 8;               // ranks in a node
};

// Images that a rank's loader makes, one way of keeping them.
struct InputForecast {
    std::string name;
    double images_per_core = 0;  // a second; 0: no core is needed
    double cores = 0;            // that a rank needs
    bool enough = false;         // of the cores that a rank has
};

// What an op of the program sends. Seconds are from the start of the step.
struct Transfer {
    std::string name;   // the op's: "bucket 0"
    double bytes = 0;   // of the buffer
    int exchanges = 0;  // one after the other
    double ready = 0;   // by the profile's least times
    double start = 0, end = 0;
};

struct RanksForecast {
    int ranks = 1, nodes = 1;
    std::vector<Transfer> transfers;  // in their order
    std::vector<ProfiledStep> steps;  // of the program of so many ranks
    double wire = 0;                  // seconds that all transfers take, with their sums
    double exposed = 0;               // of them, what the update waits for
    double memory = 0;                // seconds that the transfers take from the step beside them
    double step = 0;                  // seconds
    double images_per_second = 0;     // of all ranks
    double efficiency = 0;            // against so many steps of a single rank
};

struct RanksOptions {
    std::vector<int> ranks;
    Links links{};
    double cores = 14;       // of a rank: two processors of 56 cores for eight GPUs
    double decode_rate = 0;  // images/s that a core decodes from the files; 0: as measured, see docs/scale.md
};

struct ScaleForecast {
    RanksOptions options;
    std::vector<RanksForecast> ranks;
    std::vector<InputForecast> inputs;  // for the fastest step of these ranks
    double images_per_rank = 0;         // a second, that an input must deliver
};

// Seconds until each of these ranks has sent each other one its message.
double exchange_time(const Links& links, const ProfiledStep::Messages& messages);

// Whether so many ranks in such nodes exchange in two levels: see groups_share_machines.
bool use_two_levels(const Links& links, int ranks);

// `profile_of(ranks)` is the prediction for a rank of so many. Throws Error(usage) for ranks that do
// not fill their nodes.
ScaleForecast forecast_ranks(const std::function<Profile(int ranks)>& profile_of,
                             const RanksOptions& options);

}  // namespace onecycle
