#include "nn/architectures/vgg_blocks.h"

namespace onecycle::built_in {

Architecture vgg11_bn() {
    return vgg_architecture("vgg11_bn", "Simonyan and Zisserman 2014, 11 layers, with batch norm",
                            {.convolutions = {1, 1, 2, 2, 2}}, {"vgg11_bn-6002323d.pth"});
}

}  // namespace onecycle::built_in
