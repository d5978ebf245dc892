#include "kernels/statistics.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 256;

// Plain-loop equivalent, for channel c of each norm, as torch.nn.BatchNorm2d keeps them:
//   mean[c]     = (1 - momentum) mean[c]     + momentum batch.mean[c]
//   variance[c] = (1 - momentum) variance[c] + momentum unbiased batch.variance[c]
//   ema    += ema_rest (new - ema)                                              (of both)
// Bytes moved: each number once, 24 a channel, 40 with an average. A few hundred kB at most: that
// it is one launch, a block a norm, is what matters.
__global__ void __launch_bounds__(threads)
    update_statistics_kernel(float* __restrict__ statistics,  // [flat]
                             float* __restrict__ ema,         // [flat], or null
                             const GradientCheck* __restrict__ check, float momentum, float ema_rest,
                             const __grid_constant__ RunningStatisticsTable table) {
    if (!check->apply) return;
    const RunningStatistics& norm = table.norm[blockIdx.x];
    for (int c = threadIdx.x; c < norm.channels; c += threads) {
        const int mean = norm.offset + c, variance = mean + norm.channels;
        const float new_mean = (1 - momentum) * statistics[mean] + momentum * norm.mean[c];
        const float new_variance =
            (1 - momentum) * statistics[variance] + momentum * (norm.variance[c] * norm.unbiased);
        statistics[mean] = new_mean;
        statistics[variance] = new_variance;
        if (!ema) continue;
        ema[mean] += ema_rest * (new_mean - ema[mean]);
        ema[variance] += ema_rest * (new_variance - ema[variance]);
    }
}

}  // namespace

void update_statistics(float* statistics, float* ema, const RunningStatisticsTable& table, int norms,
                       const GradientCheck* check, float momentum, float ema_rest, cudaStream_t stream) {
    if (norms == 0) return;
    launch("update_statistics", update_statistics_kernel, {static_cast<unsigned>(norms), threads}, stream,
           statistics, ema, check, momentum, ema_rest, table);
}

}  // namespace onecycle::ONECYCLE_CUDA
