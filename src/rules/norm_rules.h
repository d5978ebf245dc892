// What a batch norm multiplies and adds: one formula for all back ends, forward and backward,
// compiled for host and device.
#pragma once

#include <cmath>

#include "rules/host_device.h"

namespace onecycle {

// bn(x) = x scale + shift. All passes take the two from the same floats by the same arithmetic, so
// that backward finds exactly the ReLU mask of forward without reading y.
struct ScaleShift {
    float scale, shift;
};
ONECYCLE_HD inline ScaleShift scale_shift(float mean, float variance, float gamma, float beta,
                                          double epsilon) {
    const double scale = static_cast<double>(gamma) / sqrt(static_cast<double>(variance) + epsilon);
    return {static_cast<float>(scale),
            static_cast<float>(static_cast<double>(beta) - static_cast<double>(mean) * scale)};
}

}  // namespace onecycle
