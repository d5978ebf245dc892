#include "kernels/commit.h"

#include "kernels/schedule.h"
#include "rules/step_rules.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 64;  // load the schedule; one of them does the rest

// commit() of rules/step_rules.h. Bytes: about 64 of them go over the bus to `progress`, in host
// memory, and nothing is read from there.
__global__ void __launch_bounds__(threads)
    commit_step_kernel(StepControl* control, StepProgress* progress,
                       const BatchResult* __restrict__ results,  // [ranks]
                       int ranks, const GradientCheck* __restrict__ check, bool summed, bool scaled) {
    const ScheduleValue now = block_schedule(*control);
    if (threadIdx.x == 0)
        commit(*control, *progress, results, ranks, *check, now, summed, scaled,
               [] { __threadfence_system(); });
}

// add_result() of rules/step_rules.h: about 100 bytes.
__global__ void add_metrics_kernel(StepControl* control, const BatchResult* __restrict__ results,  // [ranks]
                                   int ranks, bool micro) {
    for (int r = 0; r < ranks; ++r) add_result(control->sums, results[r]);
    if (micro) ++control->micro;
}

}  // namespace

void commit_step(StepControl* control, StepProgress* progress, const BatchResult* results, int ranks,
                 const GradientCheck* check, bool summed, bool scaled, cudaStream_t stream) {
    launch("commit_step", commit_step_kernel, {1, threads}, stream, control, progress, results, ranks, check,
           summed, scaled);
}

void add_metrics(StepControl* control, const BatchResult* results, int ranks, bool micro,
                 cudaStream_t stream) {
    launch("add_metrics", add_metrics_kernel, {1, 1}, stream, control, results, ranks, micro);
}

}  // namespace onecycle::ONECYCLE_CUDA
