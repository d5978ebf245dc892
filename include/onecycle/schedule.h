// A schedule: learning rate and momentum as a pure function of the update's number. It is plain
// data, so it can be copied to a device, written to a checkpoint and evaluated at any step without
// history: resume is exact by construction. This header compiles for host and device.
#pragma once

#include <cmath>
#include <cstdint>

#include "onecycle/host_device.h"

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

// The ends are met exactly, and q outside [0, 1] holds them.
ONECYCLE_HD inline double interpolate(Curve curve, double a, double b, double q) {
    if (q <= 0 || a == b) return a;
    if (q >= 1) return b;
    constexpr double pi = 3.14159265358979323846;
    switch (curve) {
        case Curve::cosine:
            return b + (a - b) / 2 * (1 + cos(pi * q));
        case Curve::exponential:
            return a * pow(b / a, q);
        case Curve::linear:
            break;
    }
    return a + (b - a) * q;
}

// What update number `step` uses; steps count from 0.
ONECYCLE_HD inline ScheduleValue evaluate(const Schedule& schedule, std::int64_t step) {
    const double k = static_cast<double>(step);
    int i = schedule.count - 1;
    while (i > 0 && schedule.segments[i].start > k) --i;
    const Segment& s = schedule.segments[i];
    const double q = (k - s.start) / (s.end - s.start);
    return {interpolate(s.lr_curve, s.lr_start, s.lr_end, q),
            interpolate(s.momentum_curve, s.momentum_start, s.momentum_end, q)};
}

}  // namespace onecycle
