// The update of one weight: one rule for all back ends, compiled for host and device. Formulas and
// their order of rounding are those of torch.optim.SGD, Adam and AdamW and of timm.optim.Lars and
// Lamb (foreach=False); scalars are computed in double, elements in float. For a parameter w with
// gradient g (times the clipping scale), where beta1 is the momentum and t counts updates from 1:
//   sgd    g += decay w;  m = momentum m + g;  w -= lr m           (nesterov: w -= lr (g + momentum m))
//   adam   g += decay w;  m += (1-beta1)(g - m);  v = beta2 v + (1-beta2) g g
//          w -= lr/(1-beta1^t) m / (sqrt(v)/sqrt(1-beta2^t) + epsilon)
//   adamw  w *= 1 - lr decay first, then as adam without decay
//   lars   g = r (g + decay w), then as sgd;  r = trust |w| / (|g| + decay |w| + 1e-8)
//   lamb   m and v as adam without decay;  w -= lr r u;  r = |w| / |u|
//          u = m/(1-beta1^t) / (sqrt(v)/sqrt(1-beta2^t) + epsilon) + decay w
// Norms are of a whole tensor. r is 1 where one of its two norms is 0, and for tensors that never
// decay (decay_multiplier 0: batch norms and biases).
// The momentum buffer starts at zero, so the first step gives m = g as PyTorch's special case does.
#pragma once

#include <cmath>
#include <cstdint>

#include "onecycle/optimizer.h"
#include "onecycle/schedule.h"
#include "rules/host_device.h"

namespace onecycle {

enum class UpdateRule : std::uint8_t { sgd, nesterov, adam, lars, lamb };  // adam: AdamW too

inline UpdateRule update_rule(const OptimizerOptions& options) {
    switch (options.kind) {
        case OptimizerKind::sgd:
            return options.nesterov ? UpdateRule::nesterov : UpdateRule::sgd;
        case OptimizerKind::lars:
            return UpdateRule::lars;
        case OptimizerKind::lamb:
            return UpdateRule::lamb;
        default:
            return UpdateRule::adam;
    }
}

// Whether a rule keeps second moments, of squares.
ONECYCLE_HD constexpr bool has_second_moment(UpdateRule rule) {
    return rule == UpdateRule::adam || rule == UpdateRule::lamb;
}
ONECYCLE_HD constexpr bool has_second_moment(OptimizerKind kind) {
    return kind != OptimizerKind::sgd && kind != OptimizerKind::lars;
}

// Whether an update needs trust ratios.
ONECYCLE_HD constexpr bool has_trust_ratio(OptimizerKind kind) {
    return kind == OptimizerKind::lars || kind == OptimizerKind::lamb;
}

// What all elements of an update share.
struct UpdateScalars {
    float scale;  // of gradients
    float beta1, one_minus_beta1, beta2, one_minus_beta2;
    float correction1, root_correction2, epsilon;
    float ema_rest;  // how far the average moves towards the new weight
};

// What the elements of one parameter share.
struct ParameterScalars {
    float decay;       // added to the gradient (SGD, Adam)
    float shrink;      // factor for the weights first (AdamW)
    float minus_rate;  // times the direction, added to the weights
    float ratio;       // trust ratio; 1 without
};

// Adam's bias correction after t updates.
ONECYCLE_HD inline double bias_correction(double beta, double t) {
    return 1 - pow(beta, t);
}

// The corrections: bias_correction of beta1, the momentum of this update, and of beta2; SGD and
// LARS take none, so any numbers will do.
ONECYCLE_HD inline UpdateScalars update_scalars(const OptimizerOptions& options, const ScheduleValue& now,
                                                double gradient_scale, double correction1,
                                                double correction2) {
    return {.scale = static_cast<float>(gradient_scale),
            .beta1 = static_cast<float>(now.momentum),
            .one_minus_beta1 = static_cast<float>(1 - now.momentum),
            .beta2 = static_cast<float>(options.beta2),
            .one_minus_beta2 = static_cast<float>(1 - options.beta2),
            .correction1 = static_cast<float>(correction1),
            .root_correction2 = static_cast<float>(sqrt(correction2)),
            .epsilon = static_cast<float>(options.epsilon),
            .ema_rest = static_cast<float>(1 - options.ema_decay)};
}

// `correction1`: bias_correction of beta1, the momentum of this update; 1 for SGD and LARS.
ONECYCLE_HD inline ParameterScalars parameter_scalars(const OptimizerOptions& options,
                                                      const ScheduleValue& now, double correction1,
                                                      double lr_multiplier, double decay_multiplier,
                                                      float trust_ratio = 1) {
    const double lr = now.lr * lr_multiplier;
    const double decay = options.weight_decay * decay_multiplier;
    const bool decoupled = options.kind == OptimizerKind::adamw;
    return {.decay = decoupled ? 0.0f : static_cast<float>(decay),
            .shrink = decoupled ? static_cast<float>(1 - lr * decay) : 1.0f,
            .minus_rate = static_cast<float>(options.kind == OptimizerKind::lamb ? -lr : -lr / correction1),
            .ratio = trust_ratio};
}

// Adam's moments after one more gradient.
ONECYCLE_HD __attribute__((always_inline)) inline void move_moments(const UpdateScalars& s, float g, float& m,
                                                                    float& v) {
    const float difference = g - m;
    // torch.lerp takes the nearer end for its start.
    m = s.one_minus_beta1 < 0.5f ? m + s.one_minus_beta1 * difference : g - difference * s.beta1;
    v = v * s.beta2 + s.one_minus_beta2 * (g * g);
}

// LAMB's u; moves the moments.
ONECYCLE_HD __attribute__((always_inline)) inline float lamb_direction(const UpdateScalars& s, float decay,
                                                                       float gradient, float w, float& m,
                                                                       float& v) {
    move_moments(s, gradient * s.scale, m, v);
    return m / s.correction1 / (sqrtf(v) / s.root_correction2 + s.epsilon) + decay * w;
}

// One element; v is Adam's and LAMB's only. Always inlined, so that it is compiled for the
// instruction set of the loop around it.
template <UpdateRule rule>
ONECYCLE_HD __attribute__((always_inline)) inline void update_element(const UpdateScalars& s,
                                                                      const ParameterScalars& p,
                                                                      float gradient, float& w, float& m,
                                                                      float& v) {
    if constexpr (rule == UpdateRule::adam) {
        w *= p.shrink;
        move_moments(s, gradient * s.scale + p.decay * w, m, v);
        w += p.minus_rate * (m / (sqrtf(v) / s.root_correction2 + s.epsilon));
    } else if constexpr (rule == UpdateRule::lamb) {
        w += p.minus_rate * (p.ratio * lamb_direction(s, p.decay, gradient, w, m, v));
    } else if constexpr (rule == UpdateRule::lars) {
        m = m * s.beta1 + p.ratio * (gradient * s.scale + p.decay * w);
        w += p.minus_rate * m;
    } else {
        const float g = gradient * s.scale + p.decay * w;
        m = m * s.beta1 + g;
        w += p.minus_rate * (rule == UpdateRule::nesterov ? g + s.beta1 * m : m);
    }
}

// The element of which LARS and LAMB take the norm beside the weight's: the gradient, or LAMB's u.
// The moments come by value: LAMB's step is computed here to be measured and once more by the
// update, so that no buffer keeps it and all changes are one operation's.
template <UpdateRule rule>
ONECYCLE_HD __attribute__((always_inline)) inline float measured_direction(const UpdateScalars& s,
                                                                           float decay, float gradient,
                                                                           float w, float m, float v) {
    return rule == UpdateRule::lamb ? lamb_direction(s, decay, gradient, w, m, v) : gradient * s.scale;
}

// Whether a tensor that is trained has a trust ratio of its own.
ONECYCLE_HD inline bool is_adapted(double decay_multiplier) {
    return decay_multiplier != 0;
}

// Its weight decay.
ONECYCLE_HD inline float decay_of(const OptimizerOptions& options, double decay_multiplier) {
    return static_cast<float>(options.weight_decay * decay_multiplier);
}

// The trust ratio of a tensor from the sums of squares of its weights and of measured_direction().
ONECYCLE_HD inline float trust_ratio_of(const OptimizerOptions& options, double decay_multiplier,
                                        double weight_squares, double direction_squares) {
    const double w = sqrt(weight_squares), u = sqrt(direction_squares);
    if (!(w > 0 && u > 0)) return 1;
    if (options.kind == OptimizerKind::lamb) return static_cast<float>(w / u);
    const double decay = options.weight_decay * decay_multiplier;
    return static_cast<float>(options.trust_coefficient * w / (u + decay * w + 1e-8));
}

// The moving average of a weight, after its update.
ONECYCLE_HD __attribute__((always_inline)) inline float moved_ema(float ema, float w, float rest) {
    return ema + rest * (w - ema);
}

}  // namespace onecycle
