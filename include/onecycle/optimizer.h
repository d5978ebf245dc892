// Optimizers, as PyTorch defines them. The learning rate and the momentum of update k come from the
// schedule (schedule.h); everything here stays constant during a run.
#pragma once

#include <cstdint>

namespace onecycle {

enum class OptimizerKind : std::uint8_t {
    sgd,    // torch.optim.SGD: decay added to the gradient, buffer = momentum*buffer + gradient
    adam,   // torch.optim.Adam: decay added to the gradient
    adamw,  // torch.optim.AdamW: weights shrink by lr*decay first
};

struct OptimizerOptions {
    OptimizerKind kind = OptimizerKind::sgd;
    bool nesterov = false;
    // Adam: beta1 is the schedule's momentum. Bias correction is 1 - beta1^t with the beta1 of this
    // update, as fastai and PyTorch do under one-cycle.
    double beta2 = 0.99;         // in [0, 1)
    double epsilon = 1e-5;       // above 0
    double weight_decay = 1e-4;  // 0 or more
    // Wrappers, each off by default.
    double clip_norm = 0;  // > 0: gradients are scaled so that their global norm is at most this
    int accumulate = 1;    // micro batches per update; the gradient is their mean
    // In [0, 1); above 0 a moving average of the weights is kept and evaluated.
    double ema_decay = 0;
};

}  // namespace onecycle
