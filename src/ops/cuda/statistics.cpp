// Running statistics of batch norm, and their moving average.
#include "kernels/statistics.h"

#include <algorithm>

#include "ops/cuda/builders.h"

namespace onecycle::ONECYCLE_CUDA {

BuiltOp make_update_statistics(const OpDesc& desc, const Context&) {
    require_running_statistics(desc);
    require(desc.outputs[0].elements() < std::int64_t{1} << 31, desc, "there are too many statistics");
    return op_from(
        desc, 0,
        [with_ema = desc.outputs.size() == 2, rest = static_cast<float>(1 - desc.optimizer.ema_decay),
         segments = desc.statistics, momentum = static_cast<float>(desc.momentum)](
            void* const* in, void* const* out, void*, cudaStream_t stream) {
            constexpr std::size_t most = RunningStatisticsTable::capacity;
            for (std::size_t begin = 0; begin < segments.size(); begin += most) {
                const std::size_t end = std::min(segments.size(), begin + most);
                RunningStatisticsTable table{};
                for (std::size_t k = begin; k < end; ++k) {
                    const StatisticsSegment& s = segments[k];
                    // A single sample has no unbiased variance; the biased one is kept.
                    const double n = static_cast<double>(s.samples);
                    table.norm[k - begin] = {.mean = input<float>(in, 1 + 2 * k),
                                             .variance = input<float>(in, 2 + 2 * k),
                                             .offset = static_cast<std::int32_t>(s.offset),
                                             .channels = static_cast<std::int32_t>(s.channels),
                                             .unbiased = static_cast<float>(s.samples > 1 ? n / (n - 1) : 1)};
                }
                float* const statistics = output<float>(out, 0);
                update_statistics(statistics, with_ema ? output<float>(out, 1) : nullptr, table,
                                  static_cast<int>(end - begin), input<GradientCheck>(in, 0), momentum, rest,
                                  stream);
            }
        });
}

}  // namespace onecycle::ONECYCLE_CUDA
