// Pillow's resampling (src/libImaging/Resample.c), 8 bits a channel, bilinear.
#include <algorithm>
#include <cmath>

#include "onecycle/image.h"

namespace onecycle {

namespace {

constexpr int weight_bits = 32 - 8 - 2;  // 8 for the pixel, 2 for sign and overshoot

// For each output position of one axis: which inputs it reads, and their weights in fixed point.
struct Weights {
    struct Range {
        int first = 0, count = 0;
    };
    int taps = 0;
    std::vector<Range> ranges;          // [outputs]
    std::vector<std::int32_t> weights;  // [outputs, taps]
};

// Outputs `first` .. `first + count - 1` of the resize of [low, high) to `outputs`.
// Single precision up to the subtraction, double from there: as Pillow.
Weights make_weights(int inputs, float low, float high, int outputs, int first, int count) {
    const double scale = static_cast<double>(high - low) / outputs;
    const double stretch = std::max(scale, 1.0);  // antialiasing: the triangle spans what is reduced
    const double support = stretch;
    Weights w;
    w.taps = static_cast<int>(std::ceil(support)) * 2 + 1;
    w.ranges.resize(static_cast<std::size_t>(count));
    w.weights.assign(static_cast<std::size_t>(count) * w.taps, 0);
    std::vector<double> triangle(static_cast<std::size_t>(w.taps));
    for (int i = 0; i < count; ++i) {
        const double center = low + (first + i + 0.5) * scale;
        const int begin = std::max(static_cast<int>(center - support + 0.5), 0);
        const int end = std::min(static_cast<int>(center + support + 0.5), inputs);
        double sum = 0;
        for (int k = 0; k < end - begin; ++k) {
            const double distance = std::abs((k + begin - center + 0.5) * (1.0 / stretch));
            triangle[k] = distance < 1.0 ? 1.0 - distance : 0.0;
            sum += triangle[k];
        }
        w.ranges[i] = {begin, end - begin};
        for (int k = 0; k < end - begin; ++k) {
            const double weight = sum != 0.0 ? triangle[k] / sum : triangle[k];
            w.weights[static_cast<std::size_t>(i) * w.taps + k] =
                static_cast<std::int32_t>(0.5 + weight * (1 << weight_bits));
        }
    }
    return w;
}

std::uint8_t rounded(std::int32_t sum) {
    return static_cast<std::uint8_t>(std::clamp(sum >> weight_bits, 0, 255));
}

constexpr std::int32_t half = 1 << (weight_bits - 1);

// out[r, x, :] = sum over k of in[first_row + r, range(x).first + k, :] * weight(x, k)
std::vector<std::uint8_t> horizontal(const Image& in, int first_row, int rows, const Weights& w) {
    const int columns = static_cast<int>(w.ranges.size());
    std::vector<std::uint8_t> out(static_cast<std::size_t>(rows) * columns * 3);
    std::uint8_t* to = out.data();
    for (int r = 0; r < rows; ++r) {
        const std::uint8_t* row = &in.rgb[static_cast<std::size_t>(first_row + r) * in.width * 3];
        for (int x = 0; x < columns; ++x, to += 3) {
            const std::uint8_t* from = row + static_cast<std::size_t>(w.ranges[x].first) * 3;
            const std::int32_t* weight = &w.weights[static_cast<std::size_t>(x) * w.taps];
            std::int32_t sum0 = half, sum1 = half, sum2 = half;
            for (int k = 0; k < w.ranges[x].count; ++k) {
                sum0 += from[3 * k] * weight[k];
                sum1 += from[3 * k + 1] * weight[k];
                sum2 += from[3 * k + 2] * weight[k];
            }
            to[0] = rounded(sum0), to[1] = rounded(sum1), to[2] = rounded(sum2);
        }
    }
    return out;
}

// out[y, i] = sum over k of in[range(y).first - first_row + k, i] * weight(y, k), i over a row's bytes
std::vector<std::uint8_t> vertical(const std::uint8_t* in, std::size_t row_bytes, int first_row,
                                   const Weights& w) {
    std::vector<std::uint8_t> out(w.ranges.size() * row_bytes);
    std::vector<std::int32_t> sums(row_bytes);
    for (std::size_t y = 0; y < w.ranges.size(); ++y) {
        std::fill(sums.begin(), sums.end(), half);
        for (int k = 0; k < w.ranges[y].count; ++k) {
            const std::uint8_t* from =
                in + static_cast<std::size_t>(w.ranges[y].first - first_row + k) * row_bytes;
            const std::int32_t weight = w.weights[y * w.taps + k];
            for (std::size_t i = 0; i < row_bytes; ++i) sums[i] += from[i] * weight;
        }
        std::uint8_t* to = &out[y * row_bytes];
        for (std::size_t i = 0; i < row_bytes; ++i) to[i] = rounded(sums[i]);
    }
    return out;
}

}  // namespace

Image resize_bilinear(const Image& image, const Box& box, const ResizeWindow& window) {
    const Weights across = make_weights(image.width, static_cast<float>(box.x0), static_cast<float>(box.x1),
                                        window.full_width, window.x, window.width);
    const Weights down = make_weights(image.height, static_cast<float>(box.y0), static_cast<float>(box.y1),
                                      window.full_height, window.y, window.height);
    const int first_row = down.ranges.front().first;
    const int rows = down.ranges.back().first + down.ranges.back().count - first_row;
    const std::vector<std::uint8_t> narrow = horizontal(image, first_row, rows, across);
    return {window.width, window.height,
            vertical(narrow.data(), static_cast<std::size_t>(window.width) * 3, first_row, down)};
}

Image resize_bilinear(const Image& image, const Box& box, int width, int height) {
    return resize_bilinear(image, box, {width, height, 0, 0, width, height});
}

Image resize_bilinear(const Image& image, int width, int height) {
    if (width == image.width && height == image.height) return image;
    return resize_bilinear(image, {0, 0, static_cast<double>(image.width), static_cast<double>(image.height)},
                           width, height);
}

}  // namespace onecycle
