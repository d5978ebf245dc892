// Running statistics of batch norm, and their moving average.
#include "ops/cpu/builders.h"
#include "rules/control.h"

namespace onecycle::cpu {

// running = (1 - momentum) running + momentum batch, with the variance made unbiased by n/(n-1).
BuiltOp make_update_statistics(const OpDesc& desc, const Context&) {
    require_running_statistics(desc);
    return op_from(desc, 0,
                   [with_ema = desc.outputs.size() == 2,
                    rest = static_cast<float>(1 - desc.optimizer.ema_decay), segments = desc.statistics,
                    momentum = static_cast<float>(desc.momentum)](void* const* in, void* const* out, void*) {
                       if (!static_cast<const GradientCheck*>(in[0])->apply) return;
                       for (std::size_t k = 0; k < segments.size(); ++k) {
                           const StatisticsSegment& s = segments[k];
                           const float *mean = floats(in[1 + 2 * k]), *variance = floats(in[2 + 2 * k]);
                           float* const running_mean = floats_out(out[0]) + s.offset;
                           float* const running_variance = running_mean + s.channels;
                           // A single sample has no unbiased variance; PyTorch refuses it, here the
                           // biased one is kept.
                           const double n = static_cast<double>(s.samples);
                           const auto unbiased = static_cast<float>(s.samples > 1 ? n / (n - 1) : 1);
                           for (std::int64_t c = 0; c < s.channels; ++c) {
                               running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean[c];
                               running_variance[c] =
                                   (1 - momentum) * running_variance[c] + momentum * (variance[c] * unbiased);
                           }
                           if (!with_ema) continue;
                           float* const ema = floats_out(out[1]) + s.offset;  // both, as they lie
                           for (std::int64_t c = 0; c < 2 * s.channels; ++c)
                               ema[c] += rest * (running_mean[c] - ema[c]);
                       }
                   });
}

}  // namespace onecycle::cpu
