// Weight gradients of convolutions by own code.
#pragma once

#include "ops/cpu/builders.h"

namespace onecycle::cpu {

// Whether this conv2d_backward_weights has all operands in blocked layouts of one block size.
bool has_own_weight_gradient(const OpDesc& desc);

BuiltOp make_own_weight_gradient(const OpDesc& desc, const Context& context);

}  // namespace onecycle::cpu
