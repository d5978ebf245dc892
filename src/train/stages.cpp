#include "train/stages.h"

#include <algorithm>
#include <cmath>

namespace onecycle {

namespace {

constexpr int groups = 3;  // of every ResNet, see Network

// 1/ratio, …, 1 in equal ratios.
std::vector<double> even_rates(double ratio) {
    if (ratio == 1) return {};
    std::vector<double> rates;
    for (int g = 0; g < groups; ++g)
        rates.push_back(std::pow(ratio, static_cast<double>(g + 1 - groups) / (groups - 1)));
    return rates;
}

}  // namespace

std::vector<Stage> stages_of(const TrainOptions& o) {
    std::vector<Stage> stages;
    if (o.freeze_epochs > 0) {
        Stage head{.epochs = o.freeze_epochs,
                   .frozen = {resnet_head_part, o.freeze_bn},
                   .group_rates = {0.1, 0.1, 1},
                   .policy = policy_options(o)};
        if (o.policy == fine_tune_policy) {
            head.policy.pct_start = 0.99;
            head.policy.div = 25;
        }
        stages.push_back(head);
    }
    stages.push_back({.first_epoch = o.freeze_epochs,
                      .epochs = o.epochs,
                      .frozen = {parse_freeze(o.freeze), o.freeze_bn},
                      .group_rates = even_rates(o.lr_mult),
                      .rate = o.freeze_epochs > 0 ? 0.5 : 1.0,
                      .policy = policy_options(o)});
    for (Stage& stage : stages) {
        if (stage.frozen.parts == 0) stage.frozen.norms = false;
    }
    return stages;
}

std::vector<SizedEpochs> sizes_of(const TrainOptions& o) {
    if (o.sizes.empty()) return {{o.size, all_epochs(o)}};
    std::vector<SizedEpochs> sizes = o.sizes;
    sizes.front().epochs += o.freeze_epochs;
    return sizes;
}

int size_of_epoch(const TrainOptions& o, std::int64_t epoch) {
    std::int64_t end = 0;
    for (const SizedEpochs& part : sizes_of(o))
        if (epoch < (end += part.epochs)) return part.size;
    return o.size;
}

int largest_size(const TrainOptions& o) {
    int largest = o.size;
    for (const SizedEpochs& part : o.sizes) largest = std::max(largest, part.size);
    return largest;
}

}  // namespace onecycle
