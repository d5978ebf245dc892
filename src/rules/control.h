// What a training step needs beside tensors, kept where the step runs (in device memory on a GPU),
// so that the host launches and never waits. Plain data: copied as bytes, compiled for host and
// device.
#pragma once

#include <cstdint>

#include "onecycle/schedule.h"
#include "rules/blow_up.h"

namespace onecycle {

// Result of one batch, written by softmax_cross_entropy.
struct BatchResult {
    double loss;      // mean (weighted when class weights are on), label smoothing in
    double loss_sum;  // over the samples, each times its weight: loss = loss_sum / weight
    double weight;    // sum of the samples' weights; the count without class weights
    std::int64_t count, correct, correct5;
    std::int64_t stop_wanted;  // with several ranks: StepProgress::stop_wanted of the rank; else 0
};

// Sums of results: of the earlier micro batches of an update, or of an evaluation's batches.
struct ResultSums {
    double loss_sum, weight;
    std::int64_t count, correct, correct5;
};

// Result of check_gradients. The step takes effect only when `apply`: the loss and all gradients
// are finite, the run was not stopped and has updates left.
struct GradientCheck {
    double norm;   // global L2 norm of the (mean) gradient
    double scale;  // factor for the gradients: clipping, and the loss scale taken out
    std::int32_t apply;
    std::int32_t finite;     // loss and all gradients
    std::int32_t first_bad;  // the first parameter whose gradient is not finite; -1: none; -2: the loss
};

struct RingEntry {
    std::int64_t update;  // the update this batch led to, counted from 0
    double loss, learning_rate, momentum, gradient_norm;
};

// The loss ring holds the last entries; the host reads it late.
inline constexpr int ring_size = 64;

// How far the steps are. Lies in memory that the host reads without a call (SharedMemory);
// commit_step alone writes it, in this order: ring entry and stop, then `update`, then `launches`.
// Who reads `launches` first, then `update`, then the rest, finds each at least as new as the one
// before (read_progress in nn/state.h).
struct StepProgress {
    RingEntry ring[ring_size];  // of update u at u % ring_size
    std::int32_t stop, first_bad;
    std::int64_t update;
    std::int64_t launches;  // of commit_step, taken or not, since the control block was written
    // With several ranks: launch `stopped_at` was the one that set `stop`, and `asked` is the largest
    // stop_wanted of all ranks where that is why.
    std::int64_t stopped_at;
    std::int32_t asked;
    // The host writes it and the next step tells all ranks, so that all stop after the same update.
    // 0: go on.
    std::int32_t stop_wanted;
};

struct StepControl {
    Schedule schedule;
    std::int64_t update;             // updates done; data order and dropout follow it
    std::uint32_t first_epoch;       // of the data order: update 0 begins with this one
    std::int64_t stage_start;        // the schedule and Adam's bias correction count updates from here
    std::int64_t last_update;        // a launch at update == last_update changes nothing
    std::int32_t stop;               // not 0: launches change nothing
    std::int32_t first_bad;          // valid when stopped by a value that is not finite
    float loss_scale;                // 1 without fp16
    std::int32_t good_steps;         // taken since the loss scale last changed
    std::int64_t launches;           // of commit_step
    std::int32_t micro;              // micro batches already run for the current update, by this rank
    std::int32_t rank, other_ranks;  // of how many others; ranks take turns at micro batches
    std::int64_t stopped_at;         // the launch that set `stop`
    std::int32_t asked;              // with stop_asked: what was wanted
    // A range test: a loss that has diverged (BlowUpDetector) stops the run (stop_blow_up), its own
    // step being the last.
    std::int32_t watch_blow_up;
    BlowUpDetector blow_up;
    ResultSums sums;  // since they were last cleared
};

// fp16: gradients are computed times a scale, so that small ones do not become zero. A step whose
// gradients are not finite (the loss is) takes no effect and halves the scale: its batch comes
// again. After so many good steps the scale doubles. Below the smallest scale the training has
// diverged.
inline constexpr float first_loss_scale = 65536, smallest_loss_scale = 1, largest_loss_scale = 16777216;
inline constexpr std::int32_t good_steps_to_grow = 2000;

// StepControl::stop
inline constexpr std::int32_t stop_not_finite = 1;
inline constexpr std::int32_t stop_blow_up = 2;
inline constexpr std::int32_t stop_asked = 3;  // by the host of a rank

}  // namespace onecycle
