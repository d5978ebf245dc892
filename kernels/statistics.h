// Running statistics of batch norm, and their moving average. Nothing changes unless check->apply.
#pragma once

#include "kernels/cuda.h"
#include "rules/control.h"

namespace onecycle::ONECYCLE_CUDA {

// One batch norm: what a batch found, and where its running values begin in the flat buffer, the
// means before the variances. unbiased = n/(n-1).
struct RunningStatistics {
    const float *mean, *variance;  // [channels]
    std::int32_t offset, channels;
    float unbiased;
};

// They travel in the kernel's arguments.
struct RunningStatisticsTable {
    static constexpr int capacity = 96;  // below 4 KiB; ResNet50 has 53
    RunningStatistics norm[capacity];
};

// statistics = (1 - momentum) statistics + momentum batch, for the first `norms` of the table. ema += ema_rest (statistics - ema), unless it is null.
void update_statistics(float* statistics, float* ema, const RunningStatisticsTable& table, int norms,
                       const GradientCheck* check, float momentum, float ema_rest, cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
