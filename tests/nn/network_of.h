// A built-in network by its name.
#pragma once

#include <string>

#include "nn/architectures/residual_blocks.h"
#include "onecycle/network.h"

namespace onecycle {

// A ResNet10 of 16 channels, a fiftieth of a ResNet18's weights: for tests of what a step promises
// whatever the network, on the slow emulated device.
inline constexpr const char* narrow_resnet = "narrow_resnet";

struct NamedNetwork {
    std::string arch = default_architecture;
    int classes = 1000, size = 224;
    Stem stem = Stem::imagenet;
    bool zero_init_residual = false;
    Head head = Head::linear;
    double dropout = 0.5;
};

inline Network network_of(const NamedNetwork& n) {
    const Architecture narrow =
        residual_architecture(narrow_resnet, "of tests", {ResidualBlock::basic, {1, 1, 1, 1}, 16}, {});
    return (n.arch == narrow_resnet ? narrow : architecture(n.arch))
        .make({.classes = n.classes,
               .size = n.size,
               .stem = n.stem,
               .zero_init_residual = n.zero_init_residual,
               .head = n.head,
               .dropout = n.dropout});
}

}  // namespace onecycle
