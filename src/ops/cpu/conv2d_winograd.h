// 3x3 convolutions with stride 1 by Winograd's algorithm: own code, with less than half the
// arithmetic.
#pragma once

#include "ops/cpu/builders.h"

namespace onecycle::cpu {

// Whether x (or dx) and y (or dy) are in blocked layouts and the planes large enough for the
// algorithm to win.
bool prefers_winograd(const OpDesc& desc);

BuiltOp make_winograd_forward(const OpDesc& desc, const Context& context);  // and backward data
BuiltOp make_winograd_weight_gradient(const OpDesc& desc, const Context& context);

}  // namespace onecycle::cpu
