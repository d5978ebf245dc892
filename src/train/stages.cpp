#include "train/stages.h"

#include <algorithm>
#include <cmath>

#include "onecycle/error.h"

namespace onecycle {

namespace {

// 1/ratio, …, 1 in equal ratios.
std::vector<double> even_rates(double ratio, int groups) {
    if (ratio == 1 || groups == 1) return {};
    std::vector<double> rates;
    for (int g = 0; g < groups; ++g)
        rates.push_back(std::pow(ratio, static_cast<double>(g + 1 - groups) / (groups - 1)));
    return rates;
}

// A tenth for all but the head.
std::vector<double> head_rates(int groups) {
    if (groups == 1) return {};
    std::vector<double> rates(static_cast<std::size_t>(groups), 0.1);
    rates.back() = 1;
    return rates;
}

}  // namespace

int frozen_parts(const Network& network, const std::string& freeze) {
    if (freeze == "none") return 0;
    const auto refuse = [&](const std::string& why, const std::string& fix) {
        throw Error(ErrorKind::usage, "option not usable", "--freeze " + freeze, why, fix);
    };
    if (network.head_part() == 0)
        refuse("the network is one part, without a head of its own", "leave it out");
    if (freeze == "body") return network.head_part();
    std::string names = "none";
    for (int part = 0; part < network.head_part(); ++part) {
        const std::string& name = network.parts()[static_cast<std::size_t>(part)];
        if (freeze == name) return part + 1;
        names += ", " + name;
    }
    refuse("there is no such choice", "use " + names + " or body");
    return 0;
}

std::vector<Stage> stages_of(const TrainOptions& o, const Network& network) {
    std::vector<Stage> stages;
    if (o.freeze_epochs > 0) {
        Stage head{.epochs = o.freeze_epochs,
                   .frozen = {network.head_part(), o.freeze_bn},
                   .group_rates = head_rates(network.groups()),
                   .policy = policy_options(o)};
        if (o.policy == fine_tune_policy) {
            head.policy.pct_start = 0.99;
            head.policy.div = 25;
        }
        stages.push_back(head);
    }
    stages.push_back({.first_epoch = o.freeze_epochs,
                      .epochs = o.epochs,
                      .frozen = {frozen_parts(network, o.freeze), o.freeze_bn},
                      .group_rates = even_rates(o.lr_mult, network.groups()),
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
