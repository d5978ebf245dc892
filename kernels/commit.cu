#include "kernels/commit.h"

#include "kernels/schedule.h"
#include "rules/step_rules.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 64;  // load the schedule; one of them does the rest

// commit() of rules/step_rules.h. Bytes: about 64 of them go over the bus to `progress`, in host
// memory, and nothing is read from there.
__global__ void __launch_bounds__(threads)
    commit_step_kernel(StepControl* control, StepProgress* progress, const BatchResult* __restrict__ result,
                       const GradientCheck* __restrict__ check, bool summed, bool scaled) {
    const ScheduleValue now = block_schedule(*control);
    if (threadIdx.x == 0)
        commit(*control, *progress, *result, *check, now, summed, scaled, [] { __threadfence_system(); });
}

// add_result() of rules/step_rules.h: about 100 bytes.
__global__ void add_metrics_kernel(StepControl* control, const BatchResult* __restrict__ result, bool micro) {
    add_result(control->sums, *result);
    if (micro) ++control->micro;
}

}  // namespace

void commit_step(StepControl* control, StepProgress* progress, const BatchResult* result,
                 const GradientCheck* check, bool summed, bool scaled, cudaStream_t stream) {
    launch("commit_step", commit_step_kernel, {1, threads}, stream, control, progress, result, check, summed,
           scaled);
}

void add_metrics(StepControl* control, const BatchResult* result, bool micro, cudaStream_t stream) {
    launch("add_metrics", add_metrics_kernel, {1, 1}, stream, control, result, micro);
}

}  // namespace onecycle::ONECYCLE_CUDA
