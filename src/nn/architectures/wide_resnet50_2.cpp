#include "nn/architectures/residual_blocks.h"

namespace onecycle::built_in {

Architecture wide_resnet50_2() {
    return residual_architecture("wide_resnet50_2", "Zagoruyko and Komodakis 2016: bottlenecks twice as wide",
                                 {ResidualBlock::bottleneck, {3, 4, 6, 3}, 128},
                                 {"wide_resnet50_2-95faca4d.pth", "wide_resnet50_2-9ba9bcbe.pth"});
}

}  // namespace onecycle::built_in
