// The one formula of a schedule's value, for host and device.
#pragma once

#include <cmath>
#include <cstdint>

#include "onecycle/schedule.h"
#include "rules/host_device.h"

namespace onecycle {

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

// evaluate() for host and device.
ONECYCLE_HD inline ScheduleValue schedule_value(const Schedule& schedule, std::int64_t step) {
    const double k = static_cast<double>(step);
    int i = schedule.count - 1;
    while (i > 0 && schedule.segments[i].start > k) --i;
    const Segment& s = schedule.segments[i];
    const double q = (k - s.start) / (s.end - s.start);
    return {interpolate(s.lr_curve, s.lr_start, s.lr_end, q),
            interpolate(s.momentum_curve, s.momentum_start, s.momentum_end, q)};
}

}  // namespace onecycle
