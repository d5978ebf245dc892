// What a person is told about a training before and while it runs: its size, its time, what to
// change.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "train/learner_core.h"

namespace onecycle {

// "45 s", "12 min", "3.5 h"
std::string duration_text(double seconds);

// See Learner::describe().
std::vector<std::string> describe(const LearnerCore& core);

// The size, a multiple of 32 below `size`, whose training takes at most `limit` seconds when `size`
// takes `seconds` (time goes with the square of the side); 0 when even the smallest takes longer.
int size_within(int size, int smallest, double seconds, double limit);

// How fast it goes: seconds a step, of the last steps. The first step warms everything up and is
// not counted.
class Pace {
  public:
    void step_done();
    std::int64_t counted() const { return counted_; }
    double seconds_per_step() const { return counted_ ? average_ : 0; }

  private:
    using Clock = std::chrono::steady_clock;
    Clock::time_point last_{};
    bool started_ = false;
    std::int64_t counted_ = 0;
    double average_ = 0;
};

// Says once, when the first steps are done, how long range test and training take on this machine.
void give_time_estimate(LearnerCore& core, const Pace& pace, std::int64_t find_steps);

// The epochs from `epoch` to the end, in the time of one at the present size: it goes with the
// square of the side.
double epochs_left(const LearnerCore& core, std::int64_t epoch);

// Seconds that one evaluation takes when a training step takes `seconds_per_step`: a forward pass
// is about a third of a step.
double evaluation_seconds(const LearnerCore& core, double seconds_per_step);

}  // namespace onecycle
