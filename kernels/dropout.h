// Dropout: the mask is computed, forward and backward, and never stored.
#pragma once

#include "kernels/cuda.h"
#include "rules/dropout_rules.h"

namespace onecycle::ONECYCLE_CUDA {

// y = x * (0 or rule.scale) by the numbers of this update and micro batch, n < 2^34 elements. T:
// float, bf16, f16.
template <typename T>
void dropout(T* y, const T* x, const StepControl* control, const DropoutRule& rule, std::int64_t n,
             cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
