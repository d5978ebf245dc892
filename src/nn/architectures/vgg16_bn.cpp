#include "nn/architectures/vgg_blocks.h"

namespace onecycle::built_in {

Architecture vgg16_bn() {
    return vgg_architecture("vgg16_bn", "Simonyan and Zisserman 2014, 16 layers, with batch norm",
                            {.convolutions = {2, 2, 3, 3, 3}}, {"vgg16_bn-6c64b313.pth"});
}

}  // namespace onecycle::built_in
