// Which of the tensors that a file holds are the network's: files of training scripts hold more than one set, and each
// under names of its own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "onecycle/tensor_file.h"

namespace onecycle {

// A dictionary of tensors within a file.
struct NamedTensors {
    std::vector<std::string> keys;   // the way to it; none for a file that is one dictionary
    std::vector<std::string> names;  // of its tensors
};

// The tensors of `dictionary` whose names begin with `prefix`.
struct ChosenWeights {
    std::size_t dictionary = 0;
    std::string prefix{};
    bool fits = false;  // they are a ResNet's
    WeightsPlace place{};
};

// A dictionary fits a ResNet under a prefix, empty or ending in a dot, where prefix + "conv1.weight" and prefix +
// "layer1.0.conv1.weight" are among its names; one with running statistics goes before one without.
//
// Of several, those whose keys or prefix speak of an average (a word as ema, teacher, target, momentum, swa; encoder_k)
// are taken only with `average`, or where nothing else fits. Of the rest the one with the better known name is taken:
// none at all (module and _orig_mod do not count), then state_dict, model_state_dict, model_state, model, net, network,
// student, online, encoder_q and so on, the last part of the way first. Where that does not decide, `problem` says so
// and the first is taken.
//
// Where none fits: the dictionary with the most tensors, without a "module." that all of its names begin with.
ChosenWeights choose_weights(const std::vector<NamedTensors>& dictionaries, bool average);

}  // namespace onecycle
