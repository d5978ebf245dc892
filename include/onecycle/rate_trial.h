// Does a rate hold? A short training by one cycle says: run by Learner::try_rates().
#pragma once

#include <cstdint>
#include <optional>

#include "onecycle/evaluation.h"

namespace onecycle {

struct TrialOptions {
    std::int64_t updates = 0;  // of each trial; 0: two epochs, but 50 at least and 200 at most
};

// A trial that diverged has no loss and no accuracy.
struct RateTrial {
    double lr = 0;  // the maximum of its cycle
    std::int64_t updates = 0;
    // On the evaluation side, after the last update.
    std::optional<double> valid_loss{}, accuracy{};
    Interval interval{0, 1};  // of the accuracy, Wilson, 95 %
    std::int64_t n = 0;       // evaluated images; 0: diverged
};

}  // namespace onecycle
