// Four sums over micro batches at a time, as kernels keep them between passes: see rules/sum_order.h.
#pragma once

#include "kernels/flat.h"
#include "rules/sum_order.h"

namespace onecycle::ONECYCLE_CUDA {

// `total` null: all that was summed is in `sum`.
__device__ __forceinline__ void load_sums(OrderedSum (&sums)[4], const float* sum, const float* total) {
    const Quad<float> group = load_quad(sum);
    for (int k = 0; k < 4; ++k) sums[k].group = group.v[k];
    if (!total) return;
    const Quad<float> before = load_quad(total);
    for (int k = 0; k < 4; ++k) sums[k].total = before.v[k];
}

__device__ __forceinline__ void store_sums(float* sum, float* total, const OrderedSum (&sums)[4], int valid) {
    Quad<float> group, before;
    for (int k = 0; k < 4; ++k) {
        group.v[k] = total ? sums[k].group : sums[k].value();
        before.v[k] = sums[k].total;
    }
    store_quad(sum, group, valid);
    if (total) store_quad(total, before, valid);
}

__device__ __forceinline__ Quad<float> mean_of(const OrderedSum (&sums)[4], float count) {
    Quad<float> mean;
    for (int k = 0; k < 4; ++k) mean.v[k] = sums[k].value() / count;
    return mean;
}

}  // namespace onecycle::ONECYCLE_CUDA
