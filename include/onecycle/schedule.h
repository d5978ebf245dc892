// A schedule: learning rate and momentum as a pure function of the update's number. It is plain
// data, so it can be copied to a device, written to a checkpoint and evaluated at any step without
// history: resume is exact by construction.
#pragma once

#include <cstdint>

namespace onecycle {

// The way from a to b as q goes from 0 to 1.
enum class Curve : std::int32_t {
    linear,       // a + (b - a) q
    cosine,       // b + (a - b) (1 + cos(pi q)) / 2
    exponential,  // a (b / a)^q, with a and b above 0
};

// One piece of a schedule over the step axis. `start` and `end` may be fractional and `start` may
// be negative; start < end. q = (step - start) / (end - start). A constant is a line with equal
// ends.
struct Segment {
    double start, end;
    double lr_start, lr_end;
    double momentum_start, momentum_end;
    Curve lr_curve, momentum_curve;
};

// Segments in order of their starts, at least one. A step belongs to the last segment that starts
// at or before it. Trivially copyable and below 4 KiB, so that it fits into a CUDA kernel's
// arguments.
struct Schedule {
    static constexpr int capacity = 64;

    std::int64_t steps;  // updates planned; later steps keep the end of the last segment
    std::int32_t count;  // segments used
    Segment segments[capacity];
};

struct ScheduleValue {
    double lr;
    double momentum;  // beta1 for Adam
};

// What update number `step` uses; steps count from 0. Host and device compute it by one formula
// (rules/schedule_value.h in the sources).
ScheduleValue evaluate(const Schedule& schedule, std::int64_t step);

}  // namespace onecycle
