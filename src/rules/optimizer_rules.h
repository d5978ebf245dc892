// The update of one weight: one rule for all back ends, compiled for host and device. Formulas and
// their order of rounding are those of torch.optim.SGD, Adam and AdamW (for_each=False); scalars
// are computed in double, elements in float. For a parameter w with gradient g (times the clipping
// scale), where beta1 is the momentum and t counts updates from 1:
//   sgd    g += decay w;  m = momentum m + g;  w -= lr m           (nesterov: w -= lr (g + momentum m))
//   adam   g += decay w;  m += (1-beta1)(g - m);  v = beta2 v + (1-beta2) g g
//          w -= lr/(1-beta1^t) m / (sqrt(v)/sqrt(1-beta2^t) + epsilon)
//   adamw  w *= 1 - lr decay first, then as adam without decay
// The momentum buffer starts at zero, so the first step gives m = g as PyTorch's special case does.
#pragma once

#include <cmath>
#include <cstdint>

#include "onecycle/optimizer.h"
#include "onecycle/schedule.h"
#include "rules/host_device.h"

namespace onecycle {

enum class UpdateRule : std::uint8_t { sgd, nesterov, adam };  // adam: AdamW too

inline UpdateRule update_rule(const OptimizerOptions& options) {
    if (options.kind != OptimizerKind::sgd) return UpdateRule::adam;
    return options.nesterov ? UpdateRule::nesterov : UpdateRule::sgd;
}

// What all elements of an update share.
struct UpdateScalars {
    float scale;  // of gradients
    float beta1, one_minus_beta1, beta2, one_minus_beta2;
    float root_correction2, epsilon;
    float ema_rest;  // how far the average moves towards the new weight
};

// What the elements of one parameter share.
struct ParameterScalars {
    float decay;       // added to the gradient (SGD, Adam)
    float shrink;      // factor for the weights first (AdamW)
    float minus_rate;  // times the direction, added to the weights
};

// Adam's bias correction after t updates.
ONECYCLE_HD inline double bias_correction(double beta, double t) {
    return 1 - pow(beta, t);
}

// `correction2`: bias_correction of beta2; SGD takes none, so any number will do.
ONECYCLE_HD inline UpdateScalars update_scalars(const OptimizerOptions& options, const ScheduleValue& now,
                                                double gradient_scale, double correction2) {
    return {.scale = static_cast<float>(gradient_scale),
            .beta1 = static_cast<float>(now.momentum),
            .one_minus_beta1 = static_cast<float>(1 - now.momentum),
            .beta2 = static_cast<float>(options.beta2),
            .one_minus_beta2 = static_cast<float>(1 - options.beta2),
            .root_correction2 = static_cast<float>(sqrt(correction2)),
            .epsilon = static_cast<float>(options.epsilon),
            .ema_rest = static_cast<float>(1 - options.ema_decay)};
}

// `correction1`: bias_correction of beta1, the momentum of this update; 1 for SGD.
ONECYCLE_HD inline ParameterScalars parameter_scalars(const OptimizerOptions& options,
                                                      const ScheduleValue& now, double correction1,
                                                      double lr_multiplier, double decay_multiplier) {
    const double lr = now.lr * lr_multiplier;
    const double decay = options.weight_decay * decay_multiplier;
    const bool decoupled = options.kind == OptimizerKind::adamw;
    return {.decay = decoupled ? 0.0f : static_cast<float>(decay),
            .shrink = decoupled ? static_cast<float>(1 - lr * decay) : 1.0f,
            .minus_rate = static_cast<float>(-lr / correction1)};
}

// One element; v is Adam's only. Always inlined, so that it is compiled for the instruction set of
// the loop around it.
template <UpdateRule rule>
ONECYCLE_HD __attribute__((always_inline)) inline void update_element(const UpdateScalars& s,
                                                                      const ParameterScalars& p,
                                                                      float gradient, float& w, float& m,
                                                                      float& v) {
    if constexpr (rule == UpdateRule::adam) {
        w *= p.shrink;
        const float g = gradient * s.scale + p.decay * w, difference = g - m;
        // torch.lerp takes the nearer end for its start.
        m = s.one_minus_beta1 < 0.5f ? m + s.one_minus_beta1 * difference : g - difference * s.beta1;
        v = v * s.beta2 + s.one_minus_beta2 * (g * g);
        w += p.minus_rate * (m / (sqrtf(v) / s.root_correction2 + s.epsilon));
    } else {
        const float g = gradient * s.scale + p.decay * w;
        m = m * s.beta1 + g;
        w += p.minus_rate * (rule == UpdateRule::nesterov ? g + s.beta1 * m : m);
    }
}

// The moving average of a weight, after its update.
ONECYCLE_HD __attribute__((always_inline)) inline float moved_ema(float ema, float w, float rest) {
    return ema + rest * (w - ema);
}

}  // namespace onecycle
