// When a range test has gone far enough. Plain data and functions for host and device: the training
// step itself asks, and stops where it runs.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "rules/host_device.h"

namespace onecycle {

// Says while a range test runs that it has gone far enough: the loss is not finite, or the median
// of the last seven exceeds twice the median of the first ten. Allocates nothing.
class BlowUpDetector {
  public:
    // Takes the next batch loss; true when the test should stop.
    ONECYCLE_HD bool add(double loss) {
        if (!(fabs(loss) <= DBL_MAX)) return true;
        if (count_ < first_rows) first_[count_] = loss;
        last_[count_ % last_rows] = loss;
        ++count_;
        if (count_ < first_rows) return false;
        if (count_ == first_rows) {
            const double start = median(first_, first_rows);
            limit_ = start + fabs(start);  // losses may be negative
        }
        return median(last_, last_rows) > limit_;
    }

  private:
    static constexpr int first_rows = 10, last_rows = 7;

    // The mean of the middle two for an even number.
    ONECYCLE_HD static double median(const double* values, int n) {
        double sorted[first_rows];
        for (int i = 0; i < n; ++i) {
            int at = i;
            for (; at > 0 && sorted[at - 1] > values[i]; --at) sorted[at] = sorted[at - 1];
            sorted[at] = values[i];
        }
        return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
    }

    double first_[first_rows] = {}, last_[last_rows] = {};
    std::int64_t count_ = 0;
    double limit_ = 0;
};

}  // namespace onecycle
