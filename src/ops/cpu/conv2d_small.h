// 3x3 convolutions over planes of a few pixels, where most of a window is padding: own code.
#pragma once

#include "ops/cpu/builders.h"

namespace onecycle::cpu {

// Whether a conv2d or conv2d_backward_data is of that kind: blocked layouts and enough images to
// share weights.
bool has_small_planes(const OpDesc& desc);

BuiltOp make_small_convolution(const OpDesc& desc, const Context& context);

}  // namespace onecycle::cpu
