// What is known of a learning rate before any test.
#pragma once

#include <cstddef>
#include <cstdint>

#include "onecycle/network.h"
#include "onecycle/options.h"

namespace onecycle {

// The maximum of one cycle that networks like this one usually bear: what the best rates of many
// trainings have in common (bench/study_auto_lr.py, docs/learning-rate.md). `images`: of one
// update. Two digits.
//
//     at 32 images, 10 classes or fewer      SGD 0.01, Adam and AdamW 0.001; from someone's weights SGD 0.01, Adam 0.01
//     images                                 times their number over 32 for SGD below 32, else times its root
//     more than 10 classes                   times the root of their number over 10
//     more than 17 convolutions in a row     times 0.7, from scratch (ResNet18 has 17, ResNet34 33)
double usual_max_lr(const TrainOptions& options, const Network& network, std::int64_t images,
                    std::size_t classes);

}  // namespace onecycle
