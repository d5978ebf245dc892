// The shapes of all convolutions of ResNet18, 34 and 50.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace onecycle::testing {

struct ConvolutionShape {
    std::int64_t in, out, size;  // channels, channels, height and width of x
    int kernel, stride;
    int padding() const { return kernel / 2; }
    bool operator==(const ConvolutionShape&) const = default;
};

// Without repetitions, for images of this size; the stem first.
inline std::vector<ConvolutionShape> resnet_convolutions(std::int64_t image, bool bottleneck) {
    std::vector<ConvolutionShape> shapes = {{3, 64, image, 7, 2}};
    const auto add = [&](const ConvolutionShape& shape) {
        if (std::find(shapes.begin(), shapes.end(), shape) == shapes.end()) shapes.push_back(shape);
    };
    std::int64_t size = (image + 3) / 4, channels = 64;
    for (const std::int64_t width : {64, 128, 256, 512})
        for (int block = 0; block < 2; ++block) {
            const int stride = block == 0 && width > 64 ? 2 : 1;
            const std::int64_t out = bottleneck ? 4 * width : width, smaller = (size + stride - 1) / stride;
            if (bottleneck) {
                add({channels, width, size, 1, 1});
                add({width, width, size, 3, stride});
                add({width, out, smaller, 1, 1});
            } else {
                add({channels, width, size, 3, stride});
                add({width, width, smaller, 3, 1});
            }
            if (channels != out) add({channels, out, size, 1, stride});
            channels = out;
            size = smaller;
        }
    return shapes;
}

}  // namespace onecycle::testing
