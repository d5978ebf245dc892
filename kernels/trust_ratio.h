// What LARS and LAMB multiply each parameter's rate by.
#pragma once

#include "kernels/flat.h"
#include "onecycle/optimizer.h"
#include "rules/control.h"

namespace onecycle::ONECYCLE_CUDA {

// Elements of a piece: enough for a block's threads to have several loads under way.
inline constexpr int trust_ratio_piece = 8192;

// Sums of squares of a piece.
struct NormSquares {
    double weights, direction;
};

// ratios[parameter] of every segment, see rules/optimizer_rules.h: 1 unless it is_adapted(), and
// everywhere unless check->apply. `squares` is [table.pieces] scratch. Moments are LAMB's only,
// else null. Gradients are multiplied by check->scale; segments with half_gradient are read from
// half_gradients. Half: float (no such segments; half_gradients null), bf16, f16.
template <typename Half>
void trust_ratio(float* ratios, NormSquares* squares, const float* parameters, const float* moment1,
                 const float* moment2, const float* gradients, const Half* half_gradients,
                 const GradientCheck* check, const StepControl* control, const OptimizerOptions& options,
                 const FlatTable& table, int multiprocessors, cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
