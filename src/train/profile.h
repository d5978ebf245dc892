// What a training step costs, operation by operation, beside what the hardware allows: the compiled
// program on synthetic images, measured on the device, or held against the limits of one that is
// not here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nn/program.h"
#include "onecycle/options.h"
#include "ops/limits.h"
#include "train/engine.h"
#include "train/machine_load.h"

namespace onecycle {

struct ProfileOptions {
    TrainOptions train;  // network, batch, optimizer, device; nothing about data or schedule is looked at
    int classes = 10;
    int ranks = 1;                 // that train together: the program of one of them; predicted only
    bool two_levels = false;       // they exchange in groups of eight, then between the groups
    int repeats = 5;               // times are medians
    std::optional<Limits> limits;  // in place of measured ones
};

struct ProfiledStep {
    std::string name, operation, implementation, phase;
    std::string shape;  // what it works on, for people: "64x56x56 -> 128x28x28, 3x3/2"
    int branch = 0;
    std::vector<int> waits;  // steps of other branches
    double flops = 0, bytes = 0;
    double limit = 0;  // seconds at the limits
    std::optional<double> seconds;
    double exchanged = 0;  // bytes of the buffer that the ranks exchange

    // Each of so many ranks, of which two neighbours are `apart` ranks apart, sends each other one
    // such a message.
    struct Messages {
        int ranks = 1, apart = 1;
        double bytes = 0;
    };
    std::vector<Messages> exchanges;  // one after the other
};

struct Profile {
    ProfileOptions options;
    std::string device;  // "AMD EPYC, 2 threads"
    std::string precision;
    Limits limits;
    bool comparable = true;  // times are of the machine that the limits are of
    std::optional<Limits> before,
        after;  // as measured before and after the steps; `limits` is the higher of each
    std::optional<MachineLoad> load;  // while all that was measured
    std::vector<ProfiledStep> steps;
    std::size_t arena_bytes = 0;

    // What was measured of the whole step, launched as training launches it.
    struct Whole {
        double seconds = 0;  // the median
        double first = 0;    // from nothing to the end of the first step: compile, plan, allocate, run
        std::int64_t launches = 0, updates = 0;  // fewer updates: steps that changed nothing
        double blocking_calls = 0, calls = 0;    // of the runtime below, a launch
    };
    std::optional<Whole> whole;

    double flops() const, bytes() const, limit() const;
    std::optional<double> seconds() const;  // of all steps, each by itself

    // Why the limits and the shares cannot be trusted, a sentence each; none when nothing speaks
    // against them.
    std::vector<std::string> doubts() const;
};

// Names the libraries that compute products on a GPU, where the program of the emulator names the
// loops in their place.
void name_libraries(Program& program);

// Known machines: "h200", "h100". 16-bit products and large copies, as PyTorch reached them on such
// a card. Throws Error(usage) for another name.
Limits limits_of(const std::string& gpu);

// Compiles the step for the CUDA back end and computes the least time at these limits. Nothing is
// allocated or run.
Profile predict_profile(const ProfileOptions& options, const Limits& limits);

// Runs it. Throws as make_engine() and compile().
Profile measure_profile(const ProfileOptions& options);

}  // namespace onecycle
