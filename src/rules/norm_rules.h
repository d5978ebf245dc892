// What a batch norm multiplies and adds, and what ranks make of theirs: one formula for all back
// ends, forward and backward, compiled for host and device.
#pragma once

#include <cmath>
#include <cstdint>

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

// What belongs to channel c on all ranks: `parts` [ranks,2,channels], added up in the order of ranks.
struct ChannelPair {
    float first, second;
};

// Mean and biased variance of the union of as many numbers a rank, of each rank's own: the variance
// is the mean of the variances and of the squared distances of the means from the common one (Chan,
// Golub, LeVeque 1979).
ONECYCLE_HD inline ChannelPair combined_statistics(const float* parts, int ranks, std::int64_t channels,
                                                   std::int64_t c) {
    double mean = 0, variance = 0;
    for (int r = 0; r < ranks; ++r) mean += static_cast<double>(parts[2 * r * channels + c]);
    mean /= ranks;
    for (int r = 0; r < ranks; ++r) {
        const double away = static_cast<double>(parts[2 * r * channels + c]) - mean;
        variance += static_cast<double>(parts[(2 * r + 1) * channels + c]) + away * away;
    }
    return {static_cast<float>(mean), static_cast<float>(variance / ranks)};
}

// The means over the ranks.
ONECYCLE_HD inline ChannelPair average_of_ranks(const float* parts, int ranks, std::int64_t channels,
                                                std::int64_t c) {
    double first = 0, second = 0;
    for (int r = 0; r < ranks; ++r) {
        first += static_cast<double>(parts[2 * r * channels + c]);
        second += static_cast<double>(parts[(2 * r + 1) * channels + c]);
    }
    return {static_cast<float>(first / ranks), static_cast<float>(second / ranks)};
}

}  // namespace onecycle
