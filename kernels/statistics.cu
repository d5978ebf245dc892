#include "kernels/statistics.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 256;

// A block a batch norm, one launch for all. A few hundred kB at most: one launch is what matters.
__global__ void __launch_bounds__(threads)
    statistics_kernel(float* statistics, const float* before,  // [flat], may be the same
                      const GradientCheck* __restrict__ check, float momentum,
                      const __grid_constant__ RunningStatisticsTable table) {
    if (!check->apply) return;
    const RunningStatistics& norm = table.norm[blockIdx.x];
    for (int c = threadIdx.x; c < norm.channels; c += threads) {
        const int mean = norm.offset + c, variance = mean + norm.channels;
        statistics[mean] = (1 - momentum) * before[mean] + momentum * norm.mean[c];
        statistics[variance] =
            (1 - momentum) * before[variance] + momentum * (norm.variance[c] * norm.unbiased);
    }
}

// average[i] += rest (values[i] - average[i]): values that stay the same leave their average as it is. Bytes moved an element: 12, in vectors of 16; the tail that
// fills no vector one element a thread.
__global__ void __launch_bounds__(threads)
    average_kernel(float* __restrict__ average,           // [parameter_elements + statistics_elements]
                   const float* __restrict__ parameters,  // [parameter_elements]
                   const float* __restrict__ statistics,  // [statistics_elements]
                   const GradientCheck* __restrict__ check, float rest, std::int64_t parameter_elements,
                   std::int64_t statistics_elements) {
    if (!check->apply) return;
    constexpr int size = Vec<float>::size;
    const std::int64_t n = parameter_elements + statistics_elements, vectors = n / size;
    const std::int64_t first = std::int64_t{blockIdx.x} * threads + threadIdx.x;
    const auto value_at = [&](std::int64_t i) {
        return i < parameter_elements ? parameters + i : statistics + (i - parameter_elements);
    };
    for (std::int64_t i = first; i < vectors; i += std::int64_t{gridDim.x} * threads) {
        const Vec<float> value = load_vec(value_at(i * size));
        Vec<float> a = load_vec(average + i * size);
        for (int k = 0; k < size; ++k) a.v[k] += rest * (value.v[k] - a.v[k]);
        store_vec(average + i * size, a);
    }
    const std::int64_t i = vectors * size + first;
    if (i < n) average[i] += rest * (*value_at(i) - average[i]);
}

}  // namespace

void update_statistics(float* statistics, const float* before, const RunningStatisticsTable& table, int norms,
                       const GradientCheck* check, float momentum, cudaStream_t stream) {
    if (norms == 0) return;
    launch("update_statistics", statistics_kernel, {static_cast<unsigned>(norms), threads}, stream,
           statistics, before, check, momentum, table);
}

void update_average(float* average, const float* parameters, const float* statistics,
                    const GradientCheck* check, float rest, std::int64_t parameter_elements,
                    std::int64_t statistics_elements, cudaStream_t stream) {
    const std::int64_t n = parameter_elements + statistics_elements;
    if (n == 0) return;
    const std::int64_t blocks = divide_up(divide_up(n, Vec<float>::size), threads);
    launch("update_average", average_kernel, {static_cast<unsigned>(blocks < 4096 ? blocks : 4096), threads},
           stream, average, parameters, statistics, check, rest, parameter_elements, statistics_elements);
}

}  // namespace onecycle::ONECYCLE_CUDA
