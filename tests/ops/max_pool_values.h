// Values of a max pool that tables of random numbers do not hit.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ops/harness.h"

namespace onecycle::testing {

// x [1,C,2,10] to y [1,C,1,5], windows of 2 by 2: of equal values the first is taken, NaN wins over
// all, and -infinity alone is a maximum too.
inline void expect_first_maximum_and_nan_win(const TensorDesc& x, const TensorDesc& y,
                                             const Machine& machine) {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    constexpr double infinity = std::numeric_limits<double>::infinity();
    TensorDesc index = y;
    index.type = DType::u8;
    const OpDesc d{.kind = OpKind::max_pool, .inputs = {x}, .outputs = {y, index}, .kernel = 2, .stride = 2};
    const Values rows[2] = {{3, 3, nan, 1, 2, nan, -infinity, -infinity, 0, 5},
                            {3, 3, 7, 9, nan, 4, -infinity, -infinity, 5, infinity}};
    Values values;
    for (std::int64_t c = 0; c < x[1]; ++c)
        for (const Values& row : rows) values.insert(values.end(), row.begin(), row.end());
    const Outcome outcome = run_op(d, {values}, machine);
    for (std::int64_t c = 0; c < x[1]; ++c) {
        const double* out = outcome.outputs[0].data() + 5 * c;
        const double* place = outcome.outputs[1].data() + 5 * c;
        EXPECT_EQ(out[0], 3);
        EXPECT_EQ(place[0], 0);
        EXPECT_TRUE(std::isnan(out[1]));
        EXPECT_TRUE(std::isnan(out[2]));
        EXPECT_EQ(out[3], -infinity);
        EXPECT_EQ(place[3], 0);
        EXPECT_EQ(out[4], infinity);
        EXPECT_EQ(place[4], 3);
    }
}

}  // namespace onecycle::testing
