#include "nn/architectures/residual_blocks.h"

namespace onecycle::built_in {

Architecture resnet101() {
    return residual_architecture("resnet101", "He et al. 2015, 101 layers in bottlenecks",
                                 {ResidualBlock::bottleneck, {3, 4, 23, 3}},
                                 {"resnet101-63fe2227.pth", "resnet101-cd907fc2.pth"});
}

}  // namespace onecycle::built_in
