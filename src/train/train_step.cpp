#include "train/train_step.h"

#include <algorithm>

namespace onecycle {

namespace {

// Half the ring: entries are read before they are overwritten.
constexpr std::int64_t most_steps_ahead = ring_size / 2;

// Which micro batches have programs of their own: the first, those between, the last.
std::vector<int> kinds_of_micro(int accumulate) {
    if (accumulate == 1) return {0};
    if (accumulate == 2) return {0, 1};
    return {0, 1, accumulate - 1};
}

// Hands over the losses of updates that have finished since the last call.
class LossRing {
  public:
    explicit LossRing(const State& state) : state_(state), control_(state.read_control()) {
        seen_ = control_.update;
    }

    std::int64_t seen() const { return seen_; }
    const StepControl& control() const { return control_; }

    // False when `take` wanted an end.
    bool poll(const std::function<bool(const RingEntry&)>& take) {
        control_ = state_.read_control();
        bool go_on = true;
        for (; seen_ < control_.update; ++seen_) go_on = take(control_.ring[seen_ % ring_size]) && go_on;
        return go_on;
    }

  private:
    const State& state_;
    StepControl control_;
    std::int64_t seen_ = 0;
};

}  // namespace

TrainStep::TrainStep(const Network& network, const StateLayout& layout, const Backend& backend,
                     ProgramKey key) {
    key.mode = Mode::train;
    for (int micro : kinds_of_micro(key.optimizer.accumulate)) {
        key.micro = micro;
        programs_.push_back(compile(network, layout, backend, key));
    }
}

std::size_t TrainStep::arena_bytes() const {
    std::size_t bytes = 0;
    for (const Program& program : programs_) bytes = std::max(bytes, program.arena_bytes);
    return bytes;
}

void TrainStep::bind(State& state, DeviceMemory& arena, const std::vector<float>& class_weights) {
    runnables_.clear();
    runnables_.reserve(programs_.size());
    for (Program& program : programs_) {
        runnables_.emplace_back(program, state, arena);
        if (program.class_weights >= 0) runnables_.back().set_class_weights(class_weights);
    }
}

void TrainStep::launch(int micro, const Batch& batch) {
    const std::size_t last = programs_.size() - 1, m = static_cast<std::size_t>(micro);
    Runnable& runnable = runnables_[micro + 1 == micro_batches() ? last : std::min<std::size_t>(m, 1)];
    runnable.set_batch(batch.pixels.data(), batch.labels.data(), batch.count);
    runnable.launch();
}

void begin_updates(State& state, const Schedule& schedule, std::int64_t update, std::int64_t last_update,
                   std::int64_t stage_start) {
    StepControl control{};
    control.schedule = schedule;
    control.update = update;
    control.last_update = last_update;
    control.stage_start = stage_start;
    control.first_bad = -1;
    control.loss_scale = state.layout().compute == DType::f16 ? first_loss_scale : 1;
    state.write_control(control);
}

void clear_moments(State& state) {
    const std::vector<std::byte> zeros(state.bytes(Space::parameters));
    for (Space space : {Space::moment1, Space::moment2})
        if (state.bytes(space)) state.device().copy_in(state.base(space), zeros.data(), state.bytes(space));
}

LoopEnd run_updates(State& state, TrainStep& step, Loader& loader, std::int64_t last,
                    const std::function<bool(const RingEntry&)>& take) {
    LossRing ring(state);
    // With fp16 an update may be skipped, and its batches come again at a lower loss scale: whether it was must be
    // known before the next batches go in.
    const bool may_repeat = state.layout().compute == DType::f16;
    const std::int64_t ahead = may_repeat ? 1 : most_steps_ahead;
    std::vector<Loader::BatchPtr> batches(static_cast<std::size_t>(step.micro_batches()));
    std::int64_t launched = ring.seen();
    for (bool go_on = true; go_on && (launched < last || (may_repeat && ring.seen() < last));) {
        const bool again = may_repeat && launched > ring.seen();
        for (int micro = 0; micro < step.micro_batches(); ++micro) {
            Loader::BatchPtr& batch = batches[static_cast<std::size_t>(micro)];
            if (!again) batch = loader.next();
            step.launch(micro, *batch);
        }
        if (!again) ++launched;
        if (launched - ring.seen() >= ahead) state.device().synchronize();
        go_on = ring.poll(take) && ring.control().stop == 0;
    }
    state.device().synchronize();
    ring.poll(take);
    const StepControl& control = ring.control();
    return {control.update, control.stop == stop_not_finite, control.first_bad};
}

}  // namespace onecycle
