// One arena for everything that lives inside a op.
#pragma once

#include "nn/program.h"

namespace onecycle {

// Gives every arena buffer and every workspace its offset and sets program.arena_bytes. Two of them
// share memory only if all ops that touch the one are done before the op that writes the other,
// in the graph of ops (not merely in the list): so any order that a device may take is safe.
// Greedy by size, largest first, each at the lowest place that is free. `kept` buffers stay until
// the end of the op.
void plan_memory(Program& program, const std::vector<int>& kept);

}  // namespace onecycle
