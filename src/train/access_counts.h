// What the kernels of a training step ask of memory, beside what they would have to ask for:
// counted on the emulated device, so that coalescing and bank conflicts show without a GPU.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "device/kernel_counts.h"
#include "train/profile.h"

namespace onecycle {

// A launch, and the operation of the program that it was for.
struct CountedLaunch : LaunchCounts {
    int step = 0;  // its number in the program
    std::string name, operation, shape;
    double declared = 0;  // bytes that the operation moves at least (nn/cost.h)
};

// All launches of a kernel together.
struct CountedKernel : LaunchCounts {
    int launches = 0;
    std::set<std::string> operations;  // that launch it
    double declared = 0;               // by the steps that launch it, each once

    // Bytes that the sectors hold and nobody asked for.
    std::uint64_t wasted_bytes() const { return 32 * (sectors - fewest_sectors); }
};

struct AccessCounts {
    ProfileOptions options;
    std::string precision;
    std::vector<CountedLaunch> launches;  // in the order of the program

    // A row for each kernel, the one that wastes the most bytes first; of equal ones, more bank
    // conflicts.
    std::vector<CountedKernel> kernels() const;
};

// Runs one step of the program on the emulated device, operation by operation. Throws Error(usage)
// where the build does not see the accesses of kernels, else as make_engine() and compile().
AccessCounts count_accesses(const ProfileOptions& options);

}  // namespace onecycle
