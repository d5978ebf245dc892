// The compiled training step and the loop that launches it and reads its losses late.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "nn/program.h"
#include "nn/state.h"
#include "onecycle/loader.h"

namespace onecycle {

// One update: a program for each kind of micro batch (first, middle, last), or a single one.
class TrainStep {
  public:
    // `key.micro` is ignored: every kind is compiled.
    TrainStep(const Network& network, const StateLayout& layout, const Backend& backend, ProgramKey key);

    std::size_t arena_bytes() const;
    // `class_weights` may be empty. State and arena must outlive the step.
    void bind(State& state, DeviceMemory& arena, const std::vector<float>& class_weights);

    int batch() const { return programs_.front().key.batch; }
    int micro_batches() const { return programs_.front().key.optimizer.accumulate; }
    const std::vector<Program>& programs() const { return programs_; }

    // Copies the batch in and launches micro batch `micro` of an update. Does not wait.
    void launch(int micro, const Batch& batch);

  private:
    std::vector<Program> programs_;
    std::vector<Runnable> runnables_;  // one a program
};

// Puts a schedule and the update counter into the state. A launch at `last_update` changes nothing. The schedule
// begins at update `stage_start`, where the moments were clear.
void begin_updates(State& state, const Schedule& schedule, std::int64_t update, std::int64_t last_update,
                   std::int64_t stage_start = 0);

// Moments as in a fresh optimizer: what an update counter of 0 means to Adam's bias correction.
void clear_moments(State& state);

struct LoopEnd {
    std::int64_t update = 0;     // updates done
    bool not_finite = false;     // the device stopped: update number `update` could not be done
    std::int32_t first_bad = 0;  // then: index of a parameter, or -2 for the loss
};

// Launches updates until `last` are done in all, each from the loader's next batches, and hands every entry
// of the loss ring to `take`, in order; false from it ends the loop after what is already launched.
// The host runs ahead of the device by some steps at most and never waits for a single one.
LoopEnd run_updates(State& state, TrainStep& step, Loader& loader, std::int64_t last,
                    const std::function<bool(const RingEntry&)>& take);

}  // namespace onecycle
