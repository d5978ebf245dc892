// The formulas of the presets, on plain numbers that are already checked.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "onecycle/policy.h"
#include "onecycle/schedule.h"

namespace onecycle {

// Gathers segments; an empty one (end <= start) is left out. Throws Error(usage) beyond the
// capacity.
class ScheduleBuilder {
  public:
    explicit ScheduleBuilder(std::int64_t steps) : schedule_{} { schedule_.steps = steps; }

    void add(double start, double end, Curve curve, double lr_start, double lr_end, double momentum_start,
             double momentum_end);
    void add(double start, double end, Curve curve, double lr_start, double lr_end, double momentum) {
        add(start, end, curve, lr_start, lr_end, momentum, momentum);
    }

    // Where all segments were empty (one single step), the schedule is a constant of these.
    Schedule finish(double lr, double momentum);

  private:
    Schedule schedule_;
};

struct OneCycleNumbers {
    std::int64_t steps;
    double initial, max, floor;  // learning rates
    MomentumRange momentum;
    double pct_start;
    Curve curve;
};

Schedule one_cycle(const OneCycleNumbers& n);
Schedule one_cycle_fastai(const OneCycleNumbers& n);
Schedule one_cycle_pytorch(const OneCycleNumbers& n, bool three_phase);
Schedule one_cycle_smith(const OneCycleNumbers& n);
Schedule flat_cos(std::int64_t steps, double max, double floor, double pct_start, double momentum);

// The rest take positions in steps (epochs times steps_per_epoch) and values relative to `max`.
Schedule step_decay(std::int64_t steps, double max, const std::vector<double>& at, double factor,
                    double momentum);
Schedule restarts(std::int64_t steps, double max, double length, double mult, double momentum);
Schedule knots(std::int64_t steps, double max, const std::vector<std::pair<double, double>>& points,
               double momentum);

}  // namespace onecycle
