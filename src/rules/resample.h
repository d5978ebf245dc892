// Pillow's resampling (src/libImaging/Resample.c), bilinear with antialiasing, 8 bits a channel:
// which pixels an output reads and with what weights, in fixed point. For host and device: equal
// bits.
#pragma once

#include <cmath>
#include <cstdint>

#include "rules/host_device.h"

namespace onecycle {

inline constexpr int resample_bits = 32 - 8 - 2;  // of a weight; 8 for the pixel, 2 for sign and overshoot
inline constexpr std::int32_t resample_half = 1 << (resample_bits - 1);  // what a sum begins with

// One axis of the resize of [low, high) of `inputs` pixels to `outputs`.
struct ResampleAxis {
    double low, scale;
    double support;  // of the triangle, which spans what is reduced: at least 1
    std::int32_t inputs;
};

// Single precision up to the subtraction, double from there: as Pillow.
ONECYCLE_HD inline ResampleAxis resample_axis(int inputs, float low, float high, int outputs) {
    const double scale = static_cast<double>(high - low) / outputs;
    return {low, scale, scale > 1.0 ? scale : 1.0, inputs};
}

// The most pixels that one output reads.
ONECYCLE_HD inline int most_taps(double support) {
    return static_cast<int>(ceil(support)) * 2 + 1;
}

struct Taps {
    std::int32_t first, count;
};

// Of output number `output`: weights[0 .. count). At most most_taps(axis.support) of them.
ONECYCLE_HD inline Taps resample_weights(const ResampleAxis& axis, int output, std::int32_t* weights) {
    const double center = axis.low + mul_rn(output + 0.5, axis.scale);
    const int begin = static_cast<int>(center - axis.support + 0.5);
    const int end = static_cast<int>(center + axis.support + 0.5);
    const Taps taps{begin > 0 ? begin : 0, (end < axis.inputs ? end : axis.inputs) - (begin > 0 ? begin : 0)};
    const double per_pixel = 1.0 / axis.support;
    const auto triangle = [&](int k) {
        const double distance = fabs(mul_rn(k + taps.first - center + 0.5, per_pixel));
        return distance < 1.0 ? 1.0 - distance : 0.0;
    };
    double sum = 0;
    for (int k = 0; k < taps.count; ++k) sum += triangle(k);
    for (int k = 0; k < taps.count; ++k) {
        const double weight = sum != 0.0 ? triangle(k) / sum : triangle(k);
        weights[k] = static_cast<std::int32_t>(0.5 + mul_rn(weight, 1 << resample_bits));
    }
    return taps;
}

ONECYCLE_HD inline std::uint8_t resample_rounded(std::int32_t sum) {
    const std::int32_t value = sum >> resample_bits;
    return static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

// Horizontal first, except where that is much dearer; the order shows in the rounding, so this is
// the very rule of Pillow 13 (before, it was horizontal first always).
ONECYCLE_HD inline bool resample_vertical_first(int width, int height, int to_width, int to_height) {
    return to_height < height && height - to_height > 2 * (width - to_width);
}

}  // namespace onecycle
