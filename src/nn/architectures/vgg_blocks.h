// What VGG networks with batch norm are made of (Simonyan and Zisserman 2014), as torchvision
// builds them: convolutions with a bias, a norm and a ReLU, in five blocks with a maximum pooling
// behind each, then two hidden linear layers with dropout. Names and order are torchvision's.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "onecycle/network.h"

namespace onecycle {

struct VggShape {
    std::array<int, 5> convolutions{};  // of each block
    std::array<int, 5> channels{64, 128, 256, 512, 512};
    int hidden = 4096;  // outputs of the hidden layers
};

Network vgg_network(const VggShape& shape, const NetworkOptions& options);

// The architecture of this shape. Parts: block1 to block5, head. Groups of learning rates are those
// that fastai splits a VGG into: block1 to block3; block4 and block5; the head.
Architecture vgg_architecture(const std::string& name, const std::string& description, const VggShape& shape,
                              std::vector<std::string> published);

}  // namespace onecycle
