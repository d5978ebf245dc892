// What a training says whose loss leaves for good.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "onecycle/error.h"
#include "onecycle/learner.h"

namespace onecycle {

// The error of an update, by its index, whose loss or gradient was not finite at the rate `lr`.
// `kept`: what the run leaves. `auto_lr`: that rate was found, so finding it again is no advice.
Error diverged(std::int64_t update, const std::string& tensor, double lr, const std::string& kept,
               double max_lr, bool auto_lr);

// The error of an epoch whose evaluation is not finite.
Error evaluation_diverged(const EpochReport& row, const std::string& kept, double max_lr);

// A warning where the epoch's loss is far above that of guessing among so many classes; else empty.
std::string high_loss(const EpochReport& row, std::size_t classes, double max_lr);

}  // namespace onecycle
