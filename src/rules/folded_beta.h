// Draws of max(x, 1 - x) where x has the distribution Beta(alpha, alpha). The quantiles stand in a
// table that the host computes; between two of them a draw is linear. So the distribution is exact
// at every quantile, nowhere more than 1/1024 of it is in the wrong place, and host and device draw
// the same bits.
#pragma once

#include <cstdint>

#include "rules/host_device.h"

namespace onecycle {

struct FoldedBeta {
    static constexpr int cells = 1024;
    // Of the last cell, the table goes to this part before its end: 1 would be far from all draws
    // of a large alpha.
    static constexpr double last_left = 0.125;
    float quantile[cells + 1];  // of the shares k / cells, from 0.5 on

    // The quantile of share word / 2^32.
    ONECYCLE_HD double operator()(std::uint32_t word) const {
        const std::uint32_t cell = word >> 22;
        const double low = static_cast<double>(quantile[cell]),
                     high = static_cast<double>(quantile[cell + 1]);
        return low + mul_rn(high - low, (word & 0x3FFFFFu) / 4194304.0);
    }
};

// For 0 < alpha <= 1000; each quantile within a float's rounding.
FoldedBeta folded_beta(double alpha);

}  // namespace onecycle
