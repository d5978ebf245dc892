// Running statistics of batch norm, and the moving average of weights and statistics. Both change nothing unless
// check->apply.
#pragma once

#include "kernels/cuda.h"
#include "ops/control.h"

namespace onecycle::ONECYCLE_CUDA {

// One batch norm: what a batch found, and where the running values are. unbiased = n/(n-1).
struct RunningStatistics {
    const float *mean, *variance;            // [channels]
    float *running_mean, *running_variance;  // [channels]
    std::int32_t channels;
    float unbiased;
};

// They travel in the kernel's arguments.
struct RunningStatisticsTable {
    static constexpr int capacity = 96;  // below 4 KiB; ResNet50 has 53
    RunningStatistics norm[capacity];
};

// running = (1 - momentum) running + momentum batch, for the first `norms` of the table.
void update_statistics(const RunningStatisticsTable& table, int norms, const GradientCheck* check,
                       float momentum, cudaStream_t stream);

// average += rest ([parameters, statistics] - average); parameter_elements is a multiple of 4.
void update_average(float* average, const float* parameters, const float* statistics,
                    const GradientCheck* check, float rest, std::int64_t parameter_elements,
                    std::int64_t statistics_elements, cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
