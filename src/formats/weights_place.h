// Which of the tensors that a file holds are the network's: files of training scripts hold more
// than one set, and each under names of its own.
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
    // What each is made of, where that is known: two sets of the same are one.
    std::vector<std::string> contents{};
};

// The tensors of `dictionary` whose names begin with `prefix`.
struct ChosenWeights {
    std::size_t dictionary = 0;
    std::string prefix{};
    std::vector<std::string> children{};  // where they are named by their numbers, see network_name()
    bool fits = false;                    // they are a network's
    WeightsPlace place{};
};

// A dictionary fits a network under a prefix, empty or ending in a dot, where prefix + the `first`
// and prefix + the `second` of its marks are among its names; one with running statistics goes
// before one without.
//
// Of several, those whose keys or prefix speak of an average (a word as ema, teacher, target,
// momentum, swa; encoder_k) are taken only with `ema`, or where nothing else fits. Of the rest
// the one with the better known name is taken: none at all (module and _orig_mod do not count),
// then state_dict, model_state_dict, model_state, model, net, network, student, online, encoder_q
// and so on, the last part of the way first. Where that does not decide, `problem` says so and the
// first is taken.
//
// Where none fits: the dictionary with the most tensors, without a "module." that all of its names
// begin with.
//
// torch.nn.Sequential of a network's children, as fastai makes of a body, names them by numbers: of
// a ResNet "0.weight" is conv1.weight then, "4.0.conv1.weight" layer1.0.conv1.weight. Such a set
// fits too.
ChosenWeights choose_weights(const std::vector<NamedTensors>& dictionaries, bool ema,
                             const std::vector<NetworkMarks>& marks);

// The network's own name of a tensor: without the prefix, and with the name of a child in place of
// its number where `children` is not empty. Empty: it is none of the set.
std::string network_name(const std::string& stored, const std::string& prefix,
                         const std::vector<std::string>& children);

}  // namespace onecycle
