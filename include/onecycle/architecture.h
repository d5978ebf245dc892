// An architecture: how a network is built, and what must be known of it to train it, to freeze
// parts of it and to read its weights. The built-in ones have names (`--arch`), a file each in
// src/nn/architectures. A learner takes one of yours just as well:
//
//     const onecycle::Architecture own{.name = "two-layers", .build = [](const onecycle::NetworkOptions& o) {
//         onecycle::Network net;
//         int x = net.input(3, o.size, o.size);
//         x = net.relu(net.batch_norm("bn", net.conv2d("conv", x, 32, 3, 2, 1)));
//         net.linear("fc", net.global_average_pool(x), o.classes);
//         return net;
//     }};
//     onecycle::Learner learner(dataset, options, {}, own);
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "onecycle/network.h"

namespace onecycle {

// The one that is trained where nobody says which.
inline constexpr const char* default_architecture = "resnet34";

struct NetworkOptions {
    int classes = 1000;
    int size = 224;  // pixels, square
    Stem stem = Stem::imagenet;
    // The last norm of each residual block starts at 0, as in torchvision.
    bool zero_init_residual = false;
    Head head = Head::linear;
    double dropout = 0.5;  // of a head that has dropout
};

struct Architecture {
    std::string name{};         // stands in files: "arch"
    std::string description{};  // one line, without a full stop

    // Builds the network: an input of 3 channels, any layers, at last a linear one with
    // options.classes outputs. Equal options must give equal networks, and names, shapes and order
    // of the parameters must not depend on options.size: sizes change during a training.
    std::function<Network(const NetworkOptions&)> build{};

    int smallest_size = 1;  // pixels
    // Likewise with Stem::small; empty: there is one stem only.
    std::optional<int> smallest_size_small_stem{};
    // Whether `build` follows NetworkOptions::head.
    bool fastai_head = false;

    // Names of files at https://download.pytorch.org/models/ that hold trained weights, the one to
    // begin with first. They carry the first digits of the files' SHA-256.
    std::vector<std::string> published{};
    // The modules of PyTorch's network in order, where files name them by their places, as those of
    // torch.nn.Sequential(*net.children()) do. Empty: no such files are known.
    std::vector<std::string> children{};
    // Says why a file whose tensors have these names is not of this architecture though it looks
    // so; empty: says nothing. May be null.
    std::function<std::string(const std::vector<std::string>&)> near_miss{};

    // The network for these options, checked. Throws Error(usage) for a size below the smallest, a
    // stem or head that it does not have, no classes, and for what `build` returns if that is no
    // classifier of so many classes.
    Network make(const NetworkOptions& options) const;
    int smallest(Stem stem) const;  // throws Error(usage) for a stem that it does not have
    void require(Head head) const;  // likewise
};

// The built-in ones.
const std::vector<Architecture>& architectures();

// Throws Error(usage) for an unknown name: lists those there are and the nearest.
const Architecture& architecture(const std::string& name);

// "a, b or c": their names, for help texts.
std::string architecture_names();

}  // namespace onecycle
