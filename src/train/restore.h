// Work on a learner's state that leaves no trace.
#pragma once

#include "data/loader.h"
#include "nn/state.h"
#include "onecycle/error.h"

namespace onecycle {

// Puts the state back when the work ends, in whatever way.
class Restore {
  public:
    Restore(State& state, Loader& loader) : state_(state), loader_(loader), snapshot_(state.snapshot()) {}
    ~Restore() {
        loader_.stop();
        try {
            state_.restore(snapshot_);
        } catch (const Error&) {
            // The device has failed for good; who uses it next is told so.
        }
    }
    Restore(const Restore&) = delete;
    Restore& operator=(const Restore&) = delete;

  private:
    State& state_;
    Loader& loader_;
    State::Snapshot snapshot_;
};

}  // namespace onecycle
