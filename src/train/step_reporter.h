// What the observer hears of each step of a range test or a training.
#pragma once

#include <cstdint>
#include <functional>

#include "rules/control.h"
#include "train/advice.h"
#include "train/learner_core.h"

namespace onecycle {

// Smooths the losses as fastai does, measures the pace, and says once how long it will take.
class StepReporter {
  public:
    struct Plan {
        StepReport::Activity activity = StepReport::Activity::train;
        std::int64_t steps = 0;  // planned in all
        std::int64_t images_per_step = 0;
        std::int64_t find_steps = 0;  // of a range test before the training: for the estimate
    };
    // The core must outlive it.
    StepReporter(LearnerCore& core, const Plan& plan) : core_(core), plan_(plan) {}

    // Takes the entry of an update that is done. `complete` adds what only the caller knows, given
    // the seconds that a step takes; it is called where somebody observes.
    using Complete = std::function<void(StepReport& report, double seconds_per_step)>;
    void on_entry(const RingEntry& entry, const Complete& complete = {});

    // Measures the pace anew: steps take another time from here on.
    void pace_changes() { pace_ = {}; }

  private:
    LearnerCore& core_;
    Plan plan_;
    Pace pace_;
    double smoothed_ = 0;
    std::int64_t count_ = 0;
};

}  // namespace onecycle
