// Gradients between backward and update. Segments with half_gradient are read from half_gradients,
// the others from gradients, at equal offsets. Half: float (no such segments; half_gradients null),
// bf16, f16.
#pragma once

#include "kernels/flat.h"
#include "rules/control.h"
#include "rules/sum_order.h"

namespace onecycle::ONECYCLE_CUDA {

// Elements of a piece for both: enough for a block's threads to have eight loads under way.
inline constexpr int gradient_piece = 8192;

// As sum_in_order of all_reduce.h, of one part, the gradients; `sum` is there. `mean` may be
// `gradients`.
template <typename Half>
void accumulate_gradients(float* sum, float* total, float* mean, const float* gradients,
                          const Half* half_gradients, const SumPass& pass, const StepControl* control,
                          const FlatTable& table, cudaStream_t stream);

// The judgement of rules/step_rules.h; `sums` is [table.pieces] scratch. `results` [ranks],
// `summed`: see loss_of_update; `scaled`: gradients were computed times control->loss_scale.
template <typename Half>
void check_gradients(GradientCheck* check, double* sums, const float* gradients, const Half* half_gradients,
                     const BatchResult* results, int ranks, bool summed, const StepControl* control,
                     double clip_norm, bool scaled, const FlatTable& table, cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
