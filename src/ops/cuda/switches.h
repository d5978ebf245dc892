// Ways to launch a step that do not change its results: switched by the environment, to compare
// them on a GPU (docs/cuda.md). The one place where they are read.
#pragma once

namespace onecycle {

struct Switches {
    bool branch = true;    // ONECYCLE_BRANCH: weight gradients on a branch of their own
    bool one_grid = true;  // ONECYCLE_ONE_GRID: small batch norms as one cooperative grid
};

// 1 or 0 each; what is not set or empty is as above. Throws Error(usage) for anything else.
Switches read_switches();

}  // namespace onecycle
