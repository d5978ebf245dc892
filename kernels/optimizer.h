// The update of the weights: one launch over the flat buffers for all parameters.
#pragma once

#include "kernels/flat.h"
#include "onecycle/optimizer.h"
#include "rules/control.h"

namespace onecycle::ONECYCLE_CUDA {

// Elements of a piece: one quad a thread, so that blocks share the work evenly.
inline constexpr int optimizer_piece = 1024;

// SGD, Adam, AdamW, LARS or LAMB by `options`, with the schedule at the control's stage_step();
// changes nothing unless check->apply. Gradients are multiplied by check->scale; segments with half_gradient are
// read from half_gradients, and segments with half are also written to half_parameters. moment2 is
// null for SGD and LARS; `ratios`, of LARS and LAMB alone, has trust_ratio.h's of each parameter.
// `ema` (null: none) moves by 1 - options.ema_decay towards the new weights; half_ema has 16-bit copies of it, as half_parameters has of the weights. Half: float (no such
// segments; the three are null), bf16, f16.
template <typename Half>
void update_parameters(float* parameters, float* moment1, float* moment2, Half* half_parameters, float* ema,
                       Half* half_ema, const float* gradients, const Half* half_gradients,
                       const GradientCheck* check, const StepControl* control, const float* ratios,
                       const OptimizerOptions& options, const FlatTable& table, int multiprocessors,
                       cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
