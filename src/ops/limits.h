// What a machine can do at most: the two ceilings that a step's time is held against.
#pragma once

#include <string>

namespace onecycle {

struct Limits {
    double bytes_per_second = 0;  // of a large copy, bytes read and bytes written counted
    double flops_per_second = 0;
    std::string source;  // where the two come from

    // No step that moves and computes so much takes less.
    double seconds(double flops, double bytes) const {
        const double moving = bytes / bytes_per_second, computing = flops / flops_per_second;
        return moving > computing ? moving : computing;
    }
};

// Half a second with so many threads.
Limits measure_cpu_limits(int threads);

}  // namespace onecycle
