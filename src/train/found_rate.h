// The rates that a training finds for itself, each by a range test.
#pragma once

#include <cstddef>

#include "train/learner_core.h"

namespace onecycle {

struct FoundRate {
    double lr = 0;
    int signal = 0;  // not 0: the test was stopped by this signal, and there is no rate
};

// The highest rate of `--max-lr auto`: what a range test says, else what is usual for such a
// training. Drops the test before the last stage where both would take too long.
FoundRate find_max_lr(LearnerCore& core);

// The rate of a stage that begins, at most a tenth of where its network diverges: a trained head's
// curve is flat and then rises, so there is no descent to find, but an edge to keep away from.
FoundRate lowered_rate(LearnerCore& core, std::size_t stage, double lr);

}  // namespace onecycle
