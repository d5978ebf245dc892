// What is known of a learning rate before any test.
#pragma once

#include <cstdint>

#include "onecycle/options.h"

namespace onecycle {

// The maximum of one cycle that networks like this one usually bear, `images` the images of one update. Two digits.
// Fitted to the best rates of many trainings: bench/study_auto_lr.py, docs/learning-rate.md.
double usual_max_lr(const TrainOptions& options, std::int64_t images);

}  // namespace onecycle
