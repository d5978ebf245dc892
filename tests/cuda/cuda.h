// What the tests of CUDA operations share: the emulated machine, the types, and how close results
// must be.
#pragma once

#include <gtest/gtest.h>

#include <cmath>

#include "device_under_test.h"
#include "ops/harness.h"
#include "ops/reference.h"

namespace onecycle::testing {

// On the emulator, or on the GPU where the environment says so (device_under_test.h).
inline Machine emulated_machine() {
    return {cuda_device_under_test(), cuda_backend_under_test()};
}

inline constexpr DType float_types[] = {DType::f32, DType::bf16, DType::f16};

// Half a unit in the last place, relative: what storing a result of this type may change.
inline double rounding(DType type) {
    return type == DType::bf16 ? 1.0 / 256 : type == DType::f16 ? 1.0 / 2048 : 6e-8;
}

// Rounds values to the type, so that the reference sees the numbers that the kernel sees.
Values stored_as(DType type, const Values& values);

// Uniform in [-1, 1), already stored as `type`.
Values random_values(const TensorDesc& desc, std::uint64_t seed);

// Every output agrees with the double reference within `units` roundings of its type, relative to
// its largest value (1 at least); redzones are intact, and a second run gives the same bits.
void expect_agrees(const OpDesc& desc, const std::vector<Values>& inputs, double units,
                   const Machine& machine);

}  // namespace onecycle::testing
