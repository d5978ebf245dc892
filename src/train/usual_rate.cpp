#include "train/usual_rate.h"

#include <algorithm>
#include <cmath>

#include "rules/optimizer_rules.h"
#include "schedule/rounding.h"

namespace onecycle {

namespace {

constexpr double from_scratch_sgd = 1e-2, from_scratch_adam = 1e-3,
                 fine_tuned_adam = 1e-2;  // at `reference_batch`
constexpr double reference_batch = 32;
constexpr double large_batch = 32768, large_batch_lars = 28, large_batch_lamb = 0.04;
constexpr double few_classes = 10;
constexpr int shallow = 17;  // convolutions, one after the other
constexpr double deep = 0.7;

}  // namespace

double usual_max_lr(const TrainOptions& options, const Network& network, std::int64_t images,
                    std::size_t classes) {
    // Trust ratios take the size of a layer's gradient out, and with it what classes and depth do.
    if (has_trust_ratio(options.optimizer))
        return two_digits((options.optimizer == OptimizerKind::lars ? large_batch_lars : large_batch_lamb) *
                          std::sqrt(static_cast<double>(images) / large_batch));
    const double batch = static_cast<double>(images) / reference_batch;
    const bool scratch = options.init == "random", sgd = options.optimizer == OptimizerKind::sgd;
    double rate = sgd ? from_scratch_sgd : scratch ? from_scratch_adam : fine_tuned_adam;
    // The noise of a small batch bounds SGD's rate in proportion to the batch, as long as noise is
    // what bounds it.
    rate *= sgd && batch < 1 ? batch : std::sqrt(batch);
    // A softmax over many classes begins with a probability, and so a curvature, of one over their
    // number.
    rate *= std::sqrt(std::max(1.0, static_cast<double>(classes) / few_classes));
    if (scratch && network.depth() > shallow) rate *= deep;
    return two_digits(rate);
}

}  // namespace onecycle
