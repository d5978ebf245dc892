// The sum over micro batches, of one rank or of many.
#pragma once

#include "ops/cpu/parallel.h"
#include "rules/sum_order.h"

namespace onecycle::cpu {

// One pass of it over `parts` [pass.parts,n], for the elements of the range; see sum_in_order in
// kernels/all_reduce.h. `mean` may be `parts`.
void sum_in_order(float* sum, float* total, float* mean, const float* parts, std::int64_t n,
                  const SumPass& pass, Range range);

}  // namespace onecycle::cpu
