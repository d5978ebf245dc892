#include "nn/architectures/residual_blocks.h"

namespace onecycle::built_in {

Architecture resnet152() {
    return residual_architecture("resnet152", "He et al. 2015, 152 layers in bottlenecks",
                                 {ResidualBlock::bottleneck, {3, 8, 36, 3}},
                                 {"resnet152-394f9c45.pth", "resnet152-f82ba261.pth"});
}

}  // namespace onecycle::built_in
