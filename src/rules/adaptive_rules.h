// Which pixels the windows of an adaptive average pooling cover, as torch.nn.AdaptiveAvgPool2d
// places them: window i of `side` covers [floor(i n / side), ceil((i + 1) n / side)) of n pixels,
// so that all pixels are covered; neighbours share some where n is no multiple of side.
#pragma once

#include <cstdint>

#include "rules/host_device.h"

namespace onecycle {

struct Cover {
    std::int32_t begin, end;
};

// The pixels of window i, fewer than 2^31 / side of them.
ONECYCLE_HD inline Cover window_pixels(std::int32_t i, std::int32_t n, std::int32_t side) {
    return {i * n / side, ((i + 1) * n + side - 1) / side};
}

// The windows that cover pixel p.
ONECYCLE_HD inline Cover pixel_windows(std::int32_t p, std::int32_t n, std::int32_t side) {
    return {p * side / n, ((p + 1) * side + n - 1) / n};
}

}  // namespace onecycle
