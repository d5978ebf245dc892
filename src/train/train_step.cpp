#include "train/train_step.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "onecycle/error.h"

namespace onecycle {

namespace {

// Half the ring: entries are read before they are overwritten.
constexpr std::int64_t most_launches_ahead = ring_size / 2;
constexpr double most_seconds_ahead = 1;

// With several ranks: a fixed number, so that all ranks have launched equally often when they stop,
// since a launch waits for the others'.
constexpr std::int64_t launches_ahead_with_ranks = 4;

// StepProgress::stop_wanted: what a host asks of all ranks. A signal is told by its number and this.
constexpr std::int32_t want_end = 1, want_signal = 2;

// Updates whose batches are handed over ahead: one that runs, one that waits, and enough of short
// ones.
constexpr int fewest_batches_held = 4, fewest_updates_held = 2;

// Which micro batches have programs of their own: the first, those between, the last.
std::vector<int> kinds_of_micro(int accumulate) {
    if (accumulate == 1) return {0};
    if (accumulate == 2) return {0, 1};
    return {0, 1, accumulate - 1};
}

// How many launches may be under way, from how long they take.
class RunAhead {
  public:
    std::int64_t limit() const {
        if (seconds_ == 0) return 2;  // not known yet
        return std::clamp(static_cast<std::int64_t>(most_seconds_ahead / seconds_), std::int64_t{1},
                          most_launches_ahead);
    }
    void nothing_under_way() { since_ = Clock::now(); }
    void finished(std::int64_t launches) {
        const Clock::time_point now = Clock::now();
        const double seconds =
            std::chrono::duration<double>(now - since_).count() / static_cast<double>(launches);
        seconds_ = seconds_ == 0 ? seconds : (seconds_ + seconds) / 2;
        since_ = now;
    }

  private:
    using Clock = std::chrono::steady_clock;
    Clock::time_point since_;
    double seconds_ = 0;  // a launch
};

// The state of the loop of run_updates.
class UpdateLoop {
  public:
    using Take = std::function<bool(const RingEntry&)>;

    UpdateLoop(State& state, TrainStep& step, Loader& loader, std::int64_t last, const Take& take,
               const std::function<int()>& stop)
        : state_(state),
          step_(step),
          loader_(loader),
          last_(last),
          take_(take),
          stop_([this, &stop] { return signal_ = signal_ || !stop ? signal_ : stop(); }),
          now_(state.read_progress()) {
        launched_ = now_.launches;
        put_ = seen_ = now_.update;
    }

    LoopEnd run() {
        if (state_.ranks() > 1) return run_together();
        try {
            while (go_on_ && signal_ == 0 && now_.stop == 0 && now_.update < last_)
                if (!launch_next()) wait_for_progress();
        } catch (const UnusableImage&) {
            // What was launched ends well: whoever catches this can save it.
            state_.device().synchronize();
            poll();
            throw;
        }
        state_.device().synchronize();
        poll();
        return {now_.update, now_.stop, now_.first_bad, signal_};
    }

    // No rank leaves the others: what ends the loop early here is told to all of them, and they
    // stop after the same update. A launch that is under way then changes nothing, but it waits for
    // the others', so that each rank goes on to the same number of them.
    LoopEnd run_together() {
        while (now_.stop == 0 && now_.update < last_) {
            if (const int signal = stop_())
                state_.want_stop(want_signal + signal);
            else if (!go_on_)
                state_.want_stop(want_end);
            if (!launch_next()) wait_for_progress();
        }
        if (now_.stop != 0) {
            const std::int64_t all = now_.stopped_at + most_ahead() - 1;
            while (launched_ < all) {
                for (int micro = 0; micro < step_.micro_batches(); ++micro) step_.launch(micro);
                ++launched_;
            }
        }
        state_.device().synchronize();
        poll();
        LoopEnd end{now_.update, now_.stop, now_.first_bad};
        state_.want_stop(0);
        if (now_.stop != stop_asked) return end;
        end.stop = 0;
        end.asked = true;
        end.signal = now_.asked >= want_signal ? now_.asked - want_signal : 0;
        StepControl control = state_.read_control();
        control.stop = control.asked = 0;
        state_.write_control(control);
        return end;
    }

  private:
    bool together() const { return state_.ranks() > 1; }
    std::int64_t under_way() const { return launched_ - now_.launches; }
    std::int64_t most_ahead() const {
        if (!together()) return ahead_.limit();
        return step_.runs_while_the_host_goes_on() ? launches_ahead_with_ranks : 1;
    }

    // False when there is nothing to launch before a step is done.
    bool launch_next() {
        // What the next launch leads to if none of those under way is refused. `update` may be
        // newer than `launches`: then this is too high, never too low.
        const std::int64_t update = now_.update + under_way();
        if (update >= last_ || under_way() >= most_ahead()) return false;
        const bool fresh =
            step_.takes_batches() && update >= put_;  // else its batches are where it finds them
        if (fresh && put_ - now_.update >= step_.updates_held()) return false;
        if (under_way() == 0) ahead_.nothing_under_way();
        for (int micro = 0; micro < step_.micro_batches(); ++micro) {
            if (fresh) {
                const Loader::BatchPtr batch = together() ? loader_.next() : loader_.next(stop_);
                if (!batch) return true;  // it was stopped
                step_.put(put_, micro, *batch);
            }
            if (step_.launch(micro, together() ? nullptr : stop_) != 0) return true;
        }
        if (fresh) ++put_;
        ++launched_;
        poll();
        return true;
    }

    void wait_for_progress() {
        using namespace std::chrono_literals;
        const std::int64_t before = now_.launches;
        for (std::chrono::microseconds pause = 20us;;
             pause = std::min(2 * pause, std::chrono::microseconds(1ms))) {
            const bool busy = state_.device().busy();
            poll();
            if (now_.launches != before) return;
            if (!busy)
                throw Error(ErrorKind::device, "a step was lost", state_.device().name(),
                            "it ended and did not say so");
            std::this_thread::sleep_for(pause);
        }
    }

    // Hands over the losses of updates that have finished since the last call.
    void poll() {
        const std::int64_t before = now_.launches;
        now_ = state_.read_progress();
        if (now_.launches > before) ahead_.finished(now_.launches - before);
        for (; seen_ < now_.update; ++seen_) go_on_ = take_(state_.ring_entry(seen_)) && go_on_;
    }

    State& state_;
    TrainStep& step_;
    Loader& loader_;
    std::int64_t last_;
    const Take& take_;
    const std::function<int()> stop_;  // gives its first answer that is not 0 ever after
    ProgressSeen now_;
    RunAhead ahead_;
    std::int64_t launched_;  // in the count of StepProgress::launches
    std::int64_t put_;       // updates whose batches were handed over
    std::int64_t seen_;      // updates whose ring entries were taken
    bool go_on_ = true;
    int signal_ = 0;  // that answer
};

}  // namespace

TrainStep::TrainStep(const Network& network, const StateLayout& layout, const Backend& backend,
                     ProgramKey key) {
    key.mode = Mode::train;
    asynchronous_ = backend.asynchronous();
    if (backend.asynchronous() && !key.resident) {
        const int accumulate = key.optimizer.accumulate;
        updates_held_ = std::max(fewest_updates_held, (fewest_batches_held + accumulate - 1) / accumulate);
        key.input_slots = updates_held_ * accumulate;
    }
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

void TrainStep::bind(State& state, DeviceMemory& arena, const std::vector<float>& class_weights,
                     const DeviceMemory* resident) {
    runnables_.clear();
    runnables_.reserve(programs_.size());
    const ProgramKey& key = programs_.front().key;
    if (key.input_slots) {
        const auto [channels, height, width] = state.network().layers().front().shape;
        const auto image_bytes = static_cast<std::size_t>(channels * height * width);
        slots_.emplace(state.device(), image_bytes, key.batch, key.input_slots);
    }
    for (Program& program : programs_) {
        runnables_.emplace_back(program, state, arena, false, slots_ ? &slots_->memory() : resident);
        if (program.class_weights >= 0) runnables_.back().set_class_weights(class_weights);
    }
}

Runnable& TrainStep::runnable(int micro) {
    return runnables_[micro + 1 == micro_batches()
                          ? runnables_.size() - 1
                          : std::min<std::size_t>(static_cast<std::size_t>(micro), 1)];
}

void TrainStep::put(std::int64_t update, int micro, const Batch& batch) {
    if (slots_)
        slots_->put(update * micro_batches() + micro, batch.pixels.data(), batch.labels.data(), batch.count);
    else
        runnable(micro).set_batch(batch.pixels.data(), batch.labels.data(), batch.count);
}

void begin_updates(State& state, const Schedule& schedule, std::int64_t update, std::int64_t last_update,
                   std::int64_t stage_start, bool watch_blow_up, std::uint32_t first_epoch) {
    StepControl control{};
    control.schedule = schedule;
    control.update = update;
    control.last_update = last_update;
    control.stage_start = stage_start;
    control.first_bad = -1;
    control.watch_blow_up = watch_blow_up;
    control.first_epoch = first_epoch;
    control.loss_scale = state.layout().compute == DType::f16 ? first_loss_scale : 1;
    control.rank = state.rank();
    control.other_ranks = state.ranks() - 1;
    state.write_control(control);
}

void clear_moments(State& state) {
    const std::vector<std::byte> zeros(state.bytes(Space::parameters));
    for (Space space : {Space::moment1, Space::moment2})
        if (state.bytes(space)) state.device().copy_in(state.base(space), zeros.data(), state.bytes(space));
}

LoopEnd run_updates(State& state, TrainStep& step, Loader& loader, std::int64_t last,
                    const std::function<bool(const RingEntry&)>& take, const std::function<int()>& stop) {
    return UpdateLoop(state, step, loader, last, take, stop).run();
}

}  // namespace onecycle
