// How much work an operation is: what the roofline of `onecycle profile` and the listing are made
// of.
#pragma once

#include "ops/ops.h"

namespace onecycle {

// Floating point operations, a multiply-add counted as two. Convolutions and products are counted
// exactly, by their definition, whatever algorithm computes them; for the rest it is an order of
// magnitude.
double flops_of(const OpDesc& desc);

// Bytes that cross the memory bus at least, as the operation is built: each operand once, padding
// included; what is changed in place twice; what a batch norm's second pass reads again, unless the
// first left it in the cache; of a flat buffer only the tensors that are in use. Workspaces are not
// counted.
double bytes_of(const OpDesc& desc, bool second_pass_cached);

}  // namespace onecycle
