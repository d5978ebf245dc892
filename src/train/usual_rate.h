// What is known of a learning rate before any test.
#pragma once

#include <cstddef>
#include <cstdint>

#include "onecycle/network.h"
#include "onecycle/options.h"

namespace onecycle {

// The maximum of one cycle that networks like this one usually bear: what the best rates of many
// trainings have in common (bench/study_auto_lr.py, docs/learning-rate.md). `images`: of one
// update. Two digits. Of LARS and LAMB nothing was measured here: the rates are those that others
// train ResNet50 with (LARS in MLPerf: 7.2 at 1,536 images, 29 at 32,768; You et al. 2020 for LAMB:
// 0.04 at 32,768, and the root rule).
//
//     at 32 images, 10 classes or fewer      SGD 0.01, Adam and AdamW 0.001; from someone's weights SGD 0.01, Adam 0.01
//     images                                 times their number over 32 for SGD below 32, else times its root
//     more than 10 classes                   times the root of their number over 10
//     more than 17 convolutions in a row     times 0.7, from scratch (ResNet18 has 17, ResNet34 33)
//     LARS, at 32,768 images                 28, else times the root of their share; classes and depth change nothing
//     LAMB, at 32,768 images                 0.04, likewise
double usual_max_lr(const TrainOptions& options, const Network& network, std::int64_t images,
                    std::size_t classes);

}  // namespace onecycle
