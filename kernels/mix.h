// Mixup and cutmix of a batch, in place.
#pragma once

#include "kernels/cuda.h"
#include "rules/mix_rules.h"

namespace onecycle::ONECYCLE_CUDA {

// Of `n` images x, the first *count are samples, and mixed as `rule` draws for this update and
// micro batch. Writes for each image the label it was mixed with, labels2, and the weight of its
// own; of a sample that is not mixed, and where there is no sample, labels2 is the label and the
// weight 1. `channels` is what is stored of a pixel. x is 16-byte aligned; an image has fewer than
// 2^31 elements. T: float, bf16, f16.
template <typename T>
void mix_batch(T* x, std::int32_t* labels2, float* weight, const std::int32_t* labels,
               const std::int32_t* count, const StepControl* control, const MixRule& rule, std::int64_t n,
               int height, int width, int channels, cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
