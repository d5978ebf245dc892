// The ladders are climbed: each rung is checked against an independent truth in double, then timed
// on a GPU, or its accesses counted on an emulator that sees them (ONECYCLE_SHADOW_MEMORY).
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>

#include "device/device.h"
#include "device/kernel_counts.h"

namespace onecycle::ladder {

// Print a table each. Throw std::runtime_error where a rung is wrong.
void climb_statistics(Device& device);
void climb_gradients(Device& device);
void climb_convolution(Device& device);

// Rounding to float changes a number by so much of itself, at most.
inline constexpr double unit = 0x1p-24;

// The median of some runs of work(i, stream), i = 0, 1, ...: what goes round four copies of its
// operands by i never finds them in the L2 cache, if they are large.
double median_seconds(Device& device, const std::function<void(std::size_t, Stream&)>& work);

// What the kernels of this work ask of memory, all together; nothing where nobody counts.
using Counts = std::optional<LaunchCounts>;
Counts counts_of(Device& device, const std::function<void()>& work);

// The columns of a table for it, empty where nobody counts: "| sectors / fewest | ... ".
struct CountColumns {
    static std::string head(), line();
    static std::string cells(const Counts& counts);
};

}  // namespace onecycle::ladder
