// The end of a step, and sums of results: the rules of ops/step_rules.h on the device.
#pragma once

#include "kernels/cuda.h"
#include "ops/control.h"

namespace onecycle::ONECYCLE_CUDA {

// `summed`: earlier micro batches are in the sums; `scaled`: there is a loss scale.
void commit_step(StepControl* control, const BatchResult* result, const GradientCheck* check, bool summed,
                 bool scaled, cudaStream_t stream);

void add_metrics(StepControl* control, const BatchResult* result, cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
