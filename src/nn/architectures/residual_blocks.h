// What ResNets are made of (He et al. 2015), as torchvision builds them. Layer names and the order
// of parameters are torchvision's, so a state_dict saved there fits here and the other way round.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "onecycle/network.h"

namespace onecycle {

enum class ResidualBlock {
    basic,       // two 3x3 convolutions
    bottleneck,  // 1x1, 3x3 and 1x1; the stride is in the 3x3 ("v1.5"), the result four times as wide
};

struct ResidualShape {
    ResidualBlock block{};
    std::array<int, 4> blocks{};  // of layer1 to layer4
    int width = 64;               // channels of the 3x3 convolutions in layer1; they double with each layer
};

// The architecture of this shape. Parts: stem, layer1 to layer4, head. Groups of learning rates are
// those that fastai splits a ResNet into: stem, layer1 and layer2; layer3 and layer4; the head.
Architecture residual_architecture(const std::string& name, const std::string& description,
                                   const ResidualShape& shape, std::vector<std::string> published);

}  // namespace onecycle
