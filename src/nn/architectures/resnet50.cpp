#include "nn/architectures/residual_blocks.h"

namespace onecycle::built_in {

Architecture resnet50() {
    return residual_architecture("resnet50", "He et al. 2015, 50 layers in bottlenecks",
                                 {ResidualBlock::bottleneck, {3, 4, 6, 3}},
                                 {"resnet50-0676ba61.pth", "resnet50-11ad3fa6.pth", "resnet50-19c8e357.pth"});
}

}  // namespace onecycle::built_in
