// Running statistics of batch norm, and the moving average of weights and statistics. Both change nothing unless
// check->apply.
#pragma once

#include "kernels/cuda.h"
#include "ops/control.h"

namespace onecycle::ONECYCLE_CUDA {

// One batch norm: what a batch found, and where its running values begin in the flat buffer, the means before the
// variances. unbiased = n/(n-1).
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

// statistics = (1 - momentum) before + momentum batch, for the first `norms` of the table. `before` may be
// `statistics`.
void update_statistics(float* statistics, const float* before, const RunningStatisticsTable& table, int norms,
                       const GradientCheck* check, float momentum, cudaStream_t stream);

// average += rest ([parameters, statistics] - average); parameter_elements is a multiple of 4.
void update_average(float* average, const float* parameters, const float* statistics,
                    const GradientCheck* check, float rest, std::int64_t parameter_elements,
                    std::int64_t statistics_elements, cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
