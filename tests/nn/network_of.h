// A built-in network by its name.
#pragma once

#include <string>

#include "onecycle/architecture.h"

namespace onecycle {

struct NamedNetwork {
    std::string arch = default_architecture;
    int classes = 1000, size = 224;
    Stem stem = Stem::imagenet;
    bool zero_init_residual = false;
    Head head = Head::linear;
    double dropout = 0.5;
};

inline Network network_of(const NamedNetwork& n) {
    return architecture(n.arch).make({.classes = n.classes,
                                      .size = n.size,
                                      .stem = n.stem,
                                      .zero_init_residual = n.zero_init_residual,
                                      .head = n.head,
                                      .dropout = n.dropout});
}

}  // namespace onecycle
