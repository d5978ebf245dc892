// The order in which the gradients of an update's micro batches are added up: in groups of eight
// consecutive ones, each from its first on, then the sums of the groups, in order. It looks at the
// numbers of micro batches alone. So the bits are the same however they are spread over ranks and
// passes, and eight ranks of one machine can add up a group before anything leaves the machine.
#pragma once

#include "rules/host_device.h"

namespace onecycle {

inline constexpr int summed_group = 8;

// Whether ranks are whole groups, and several: see OpDesc::two_levels.
constexpr bool are_whole_groups(int ranks) {
    return ranks > summed_group && ranks % summed_group == 0;
}

// Whether a pass over so many ranks, of several passes, can end within a group that is not the first
// one. The group's sum and the sum of those before it are then kept apart, until the next pass.
constexpr bool groups_cross_passes(int passes, int ranks) {
    return passes > 1 && passes * ranks > summed_group && ranks % summed_group != 0;
}

// Numbers that are added up in one pass. Number p begins a group where before + p is a multiple of
// `group`.
struct SumPass {
    int parts = 1;
    int group = summed_group;
    int before = 0;   // numbers of the earlier passes
    float count = 1;  // of all passes: what the mean is divided by
};

// A sum on its way.
struct OrderedSum {
    // x + -0 is x, to the bit, also where x is 0: so the first group is not a case of its own.
    static constexpr float nothing = -0.0f;

    float total = nothing;  // of the groups before
    float group = nothing;  // of the present one so far

    ONECYCLE_HD void add(float part, bool begins_group) {
        if (begins_group) {
            total += group;
            group = part;
        } else {
            group += part;
        }
    }
    ONECYCLE_HD float value() const { return total + group; }
};

}  // namespace onecycle
