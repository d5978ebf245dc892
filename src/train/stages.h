// The stages of a training. Most have one. Fine-tuning has two, as fastai's fine_tune(): with
// `freeze_epochs` the body is frozen first and the head learns alone (the norms of the body with
// it, unless `freeze_bn`); then `freeze` says what stays frozen, and the groups of layers learn at
// discriminative rates.
//
//              epochs         frozen   rates of the groups           highest rate       pct_start, div of "fine-tune"
//   stage 1    freeze_epochs  body     1/10, ..., 1/10, 1            max_lr             0.99, 25
//   stage 2    epochs         freeze   from 1/lr_mult to 1, evenly   max_lr / 2         0.3, 5
//
// evenly: in equal ratios. A training of one stage is stage 2 at max_lr itself.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/program.h"
#include "onecycle/options.h"

namespace onecycle {

// The policy that `finetune` has by default: fastai's fit_one_cycle with fine_tune's numbers for
// each stage.
inline constexpr const char* fine_tune_policy = "fine-tune";

struct Stage {
    std::int64_t first_epoch = 0, epochs = 0;
    Frozen frozen;
    std::vector<double> group_rates;  // factor of each group's rate, the head's last and 1; empty: all 1
    double rate = 1;                  // its highest rate over the run's max_lr
    PolicyOptions policy;
};

// In their order: one or two.
std::vector<Stage> stages_of(const TrainOptions& options, const Network& network);

// How many parts of the network `--freeze` takes: 0 for none, all but the head for body, else those
// up to the one of this name. Throws Error(usage).
int frozen_parts(const Network& network, const std::string& freeze);

// The sizes of all epochs, those of the first stage included: one part, or those of `sizes`.
std::vector<SizedEpochs> sizes_of(const TrainOptions& options);
int size_of_epoch(const TrainOptions& options, std::int64_t epoch);
int largest_size(const TrainOptions& options);

}  // namespace onecycle
