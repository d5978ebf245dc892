// Counts of what a classifier takes each class for.
#pragma once

#include "kernels/cuda.h"

namespace onecycle::ONECYCLE_CUDA {

// counts[label * classes + answer] += 1 for each of the first *count rows.
void count_confusion(std::int32_t* counts,        // [C,C]
                     const float* logits,         // [N,C]
                     const std::int32_t* labels,  // [N]
                     const std::int32_t* count,   // [1]
                     std::int64_t n, std::int64_t classes, cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
