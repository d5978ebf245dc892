// The end of a step, and sums of results: the rules of rules/step_rules.h on the device.
#pragma once

#include "kernels/cuda.h"
#include "rules/control.h"

namespace onecycle::ONECYCLE_CUDA {

// `results` [ranks]. `progress` may lie in mapped host memory. `summed`: earlier micro batches are in the sums;
// `scaled`: there is a loss scale.
void commit_step(StepControl* control, StepProgress* progress, const BatchResult* results, int ranks,
                 const GradientCheck* check, bool summed, bool scaled, cudaStream_t stream);

// `micro`: the result is of a micro batch that is not the last; it is counted.
void add_metrics(StepControl* control, const BatchResult* results, int ranks, bool micro,
                 cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
