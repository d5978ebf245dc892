// Every operation of a network again, in double, plain order and plain loops: the truth that the
// back ends are compared with. The backward formulas are themselves checked against finite
// differences of the forward ones (test_ops_gradients.cpp).
#pragma once

#include "ops/harness.h"

namespace onecycle::testing {

// Inputs and outputs in the order of the contract in ops.h, layouts ignored.
std::vector<Values> reference(const OpDesc& desc, const std::vector<Values>& inputs);

}  // namespace onecycle::testing
