#include "nn/architectures/residual_blocks.h"

namespace onecycle::built_in {

Architecture resnet34() {
    return residual_architecture("resnet34", "He et al. 2015, 34 layers",
                                 {ResidualBlock::basic, {3, 4, 6, 3}},
                                 {"resnet34-b627a593.pth", "resnet34-333f7ec4.pth"});
}

}  // namespace onecycle::built_in
