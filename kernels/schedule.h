// The schedule inside a kernel.
#pragma once

#include "kernels/cuda.h"
#include "rules/optimizer_rules.h"
#include "rules/schedule_value.h"
#include "rules/step_rules.h"

namespace onecycle::ONECYCLE_CUDA {

// Not inlined: cosine and power in double would take registers from the kernel's loop.
__device__ __attribute__((noinline)) inline ScheduleValue evaluate_apart(const Schedule& schedule,
                                                                         std::int64_t step) {
    return schedule_value(schedule, step);
}

__device__ __attribute__((noinline)) inline double bias_correction_apart(double beta, double t) {
    return bias_correction(beta, t);
}

// Learning rate and momentum of the update that is due; every thread of the block gets them. All
// threads must call. The segments come into shared memory side by side, then one thread evaluates:
// the search would otherwise wait for global memory once a segment.
__device__ inline ScheduleValue block_schedule(const StepControl& control) {
    ONECYCLE_SHARED(Schedule, schedule, 1);
    ONECYCLE_SHARED(ScheduleValue, value, 1);
    const int count = control.schedule.count;
    for (int i = threadIdx.x; i < count; i += blockDim.x)
        schedule->segments[i] = control.schedule.segments[i];
    if (threadIdx.x == 0) {
        schedule->steps = control.schedule.steps;
        schedule->count = count;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        const ScheduleValue now =
            evaluate_apart(*schedule, stage_step(control));  // a write that checkers see
        value[0] = now;
    }
    __syncthreads();
    return value[0];
}

}  // namespace onecycle::ONECYCLE_CUDA
