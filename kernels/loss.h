// The loss and its gradient, and probabilities. Logits are [N,C] in plain order.
#pragma once

#include "kernels/cuda.h"
#include "rules/control.h"

namespace onecycle::ONECYCLE_CUDA {

struct RowResult {
    double loss, weight;
    std::int64_t rank;  // classes that beat the label; of equal ones the first wins
};

// Of mixed samples: their second labels, and the share that each first one has. Nulls: every sample
// has one label.
struct LabelPairs {
    const std::int32_t* labels2;
    const float* share;  // [N]
};

// Writes `result` and, unless dlogits is null, the gradient times control->loss_scale (control
// null: times 1). class_weights null: all 1. Rows from *count on are no samples: their gradient is
// 0. `rows` is [N] scratch. T of dlogits: float, bf16, f16.
template <typename T>
void softmax_cross_entropy(BatchResult* result, T* dlogits, RowResult* rows, const float* logits,
                           const std::int32_t* labels, const std::int32_t* count, const float* class_weights,
                           const StepControl* control, const LabelPairs& pairs, float label_smoothing,
                           std::int64_t n, std::int64_t classes, cudaStream_t stream);

// probabilities = exp(logits) / sum of exp(logits), a row each.
void softmax(float* probabilities, const float* logits, std::int64_t n, std::int64_t classes,
             cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
