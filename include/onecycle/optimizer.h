// Optimizers, as PyTorch defines them, LARS and LAMB as timm does. The learning rate and the momentum
// of update k come from the schedule (schedule.h); everything here stays constant during a run.
#pragma once

#include <cstdint>

namespace onecycle {

enum class OptimizerKind : std::uint8_t {
    sgd,    // torch.optim.SGD: decay added to the gradient, buffer = momentum*buffer + gradient
    adam,   // torch.optim.Adam: decay added to the gradient
    adamw,  // torch.optim.AdamW: weights shrink by lr*decay first
    // For large batches. Each tensor has a rate of its own, lr times its trust ratio, which follows
    // from two norms; 1 where either is zero. Batch norms and biases keep the plain rate, unless
    // they decay too (timm's always_adapt=False, but weights keep their ratio at weight_decay 0).
    // timm.optim.Lars (You et al. 2017, arXiv 1708.03888): decay is added to the gradient, the sum
    // is multiplied by trust |w| / (|g| + decay |w| + 1e-8), then as sgd.
    lars,
    // timm.optim.Lamb (You et al. 2020, arXiv 1904.00962): u = Adam's step + decay w, times
    // |w| / |u|; with bias correction and without a bound on the ratio. The paper takes beta2 0.999
    // and epsilon 1e-6, fastai's Lamb the values below.
    lamb,
};

struct OptimizerOptions {
    OptimizerKind kind = OptimizerKind::sgd;
    bool nesterov = false;
    // Adam, AdamW, LAMB: beta1 is the schedule's momentum. Bias correction is 1 - beta1^t with the
    // beta1 of this update, as fastai and PyTorch do under one-cycle.
    double beta2 = 0.99;               // in [0, 1)
    double epsilon = 1e-5;             // above 0
    double weight_decay = 1e-4;        // 0 or more
    double trust_coefficient = 0.001;  // above 0; of LARS
    // Wrappers, each off by default.
    double clip_norm = 0;  // > 0: gradients are scaled so that their global norm is at most this
    int accumulate = 1;    // micro batches per update; the gradient is their mean
    // In [0, 1); above 0 a moving average of the weights is kept and evaluated.
    double ema_decay = 0;
};

}  // namespace onecycle
