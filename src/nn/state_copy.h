// What a checkpoint keeps of a state, on its way to the host while training goes on.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "nn/state.h"

namespace onecycle {

class StateCopy {
  public:
    // Takes memory for one copy. The state must outlive it.
    explicit StateCopy(const State& state);

    // The state as everything launched so far leaves it, control block included. Does not wait.
    void begin() { copy_->begin(); }
    // Waits until it is here; any thread may. What follows is good until the next begin().
    void wait() { copy_->wait(); }

    const StepControl& control() const;
    // Stored order. The tensor is one of State::weight_tensors() or moment_tensors().
    std::span<const float> stored(const StateTensor& tensor) const;

  private:
    std::vector<Space> spaces_;
    std::unique_ptr<SideCopy> copy_;
};

}  // namespace onecycle
