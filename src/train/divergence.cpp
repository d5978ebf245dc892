#include "train/divergence.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace onecycle {

Error diverged(std::int64_t update, const std::string& tensor, double lr, const std::string& kept,
               double max_lr, bool auto_lr) {
    return Error(ErrorKind::diverged, "training diverged", fmt::format("step {}", update),
                 fmt::format("{} is not finite at the learning rate {:.3g}; {}", tensor, lr, kept),
                 fmt::format("start a new run with {}a --max-lr well below {:.3g}",
                             auto_lr ? "" : "--max-lr auto, or ", max_lr));
}

Error evaluation_diverged(const EpochReport& row, const std::string& kept, double max_lr) {
    return Error(
        ErrorKind::diverged, "training diverged", fmt::format("epoch {}", row.epoch),
        fmt::format("the evaluation's loss is not finite at the learning rate {:.3g}; {}", row.lr, kept),
        fmt::format("train anew with a --max-lr below {:.3g}", max_lr));
}

std::string high_loss(const EpochReport& row, std::size_t classes, double max_lr) {
    constexpr double far_above_guessing = 10;  // times the loss of a guess, which is log k
    const double guess = std::log(std::max<double>(static_cast<double>(classes), 2));
    const bool of_training = !(row.train_loss <= row.valid_loss);
    const double loss = of_training ? row.train_loss : row.valid_loss;
    if (std::isfinite(loss) && loss <= far_above_guessing * guess) return "";
    return fmt::format(
        "epoch {}: the {} loss is {}, guessing has {:.2f}: the rate, up to {:.3g}, is too high; "
        "stop and train anew with --max-lr {:.1g}",
        row.epoch, of_training ? "training" : "evaluation",
        std::isfinite(loss) ? fmt::format("{:.3g}", loss) : "not finite", guess, max_lr, max_lr / 10);
}

}  // namespace onecycle
