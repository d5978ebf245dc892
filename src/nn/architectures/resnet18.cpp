#include "nn/architectures/residual_blocks.h"

namespace onecycle::built_in {

Architecture resnet18() {
    return residual_architecture("resnet18", "He et al. 2015, 18 layers",
                                 {ResidualBlock::basic, {2, 2, 2, 2}},
                                 {"resnet18-f37072fd.pth", "resnet18-5c106cde.pth"});
}

}  // namespace onecycle::built_in
