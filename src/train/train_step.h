// The compiled training step and the loop that launches it and reads its losses late.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "data/loader.h"
#include "nn/input_slots.h"
#include "nn/program.h"
#include "nn/state.h"

namespace onecycle {

// One update: a program for each kind of micro batch (first, middle, last), or a single one.
class TrainStep {
  public:
    // `key.micro` is ignored: every kind is compiled.
    TrainStep(const Network& network, const StateLayout& layout, const Backend& backend, ProgramKey key);

    std::size_t arena_bytes() const;
    // `class_weights` may be empty. `resident`: the images of ProgramKey::resident, else null. All
    // must outlive the step.
    void bind(State& state, DeviceMemory& arena, const std::vector<float>& class_weights,
              const DeviceMemory* resident = nullptr);

    int batch() const { return programs_.front().key.batch; }
    // Of an update, on this rank.
    int micro_batches() const { return programs_.front().key.optimizer.accumulate; }
    const std::vector<Program>& programs() const { return programs_; }

    // How many updates' batches fit in the slots. Batches of update u may be put once update
    // u - updates_held() has finished.
    int updates_held() const { return updates_held_; }

    // Whether the host feeds it: else it finds its batches on the device, and nothing is put.
    bool takes_batches() const { return !programs_.front().key.resident; }

    bool runs_while_the_host_goes_on() const { return asynchronous_; }

    // Hands over micro batch `micro` of update `update`. Does not wait.
    void put(std::int64_t update, int micro, const Batch& batch);

    // Launches micro batch `micro` of the update that is due on the device. Does not wait.
    // Returns the answer of `stop` where that left the launch undone, else 0.
    int launch(int micro, const std::function<int()>& stop = {}) {
        return runnable(micro).launch_unless(stop);
    }

  private:
    Runnable& runnable(int micro);

    std::vector<Program> programs_;
    std::vector<Runnable> runnables_;  // one a program
    bool asynchronous_ = false;
    int updates_held_ = 1;
    std::optional<InputSlots> slots_;  // where steps run while the host goes on
};

// Puts a schedule and the update counter into the state. A launch at `last_update` changes nothing.
// The schedule begins at update `stage_start`, where the moments were clear.
// Data order and views of update 0 are those of the beginning of `first_epoch`.
// `watch_blow_up`: the device stops when the loss has diverged (BlowUpDetector).
void begin_updates(State& state, const Schedule& schedule, std::int64_t update, std::int64_t last_update,
                   std::int64_t stage_start = 0, bool watch_blow_up = false, std::uint32_t first_epoch = 0);

// Moments as in a fresh optimizer: what an update counter of 0 means to Adam's bias correction.
void clear_moments(State& state);

struct LoopEnd {
    std::int64_t update = 0;     // updates done, and so the index of one that failed
    std::int32_t stop = 0;       // StepControl::stop: why the device stopped
    std::int32_t first_bad = 0;  // with stop_not_finite: index of a parameter, or -2 for the loss
    int signal = 0;              // not 0: what `stop` answered; the update under way was left
    bool asked = false;          // with several ranks: `stop` or `take` of one of them ended it
};

// Launches updates until `last` are done in all, each from the loader's next batches (unless the
// step finds them on the device), and hands every entry of the loss ring to `take`, in order; false
// from it ends the loop after what is already launched. `stop` ends it at once when it answers
// anything but 0, in the midst of a step where the device can leave one: that update is not done.
// No step may be under way before, and none is after.
// With several ranks all must call it alike, and all of them end after the same update: `stop` and a
// false from `take` are wishes then, which the next step tells to all, and LoopEnd::asked is the
// largest of them.
// The host runs ahead of the device, by 32 steps or about a second at most, and reads how far it is
// from memory that both see; one call waits, at the end.
LoopEnd run_updates(State& state, TrainStep& step, Loader& loader, std::int64_t last,
                    const std::function<bool(const RingEntry&)>& take, const std::function<int()>& stop = {});

}  // namespace onecycle
