// Pillow's resampling on whole images: see rules/resample.h.
#include "rules/resample.h"

#include <algorithm>

#include "onecycle/image.h"

namespace onecycle {

namespace {

// For each output position of one axis: which inputs it reads, and their weights in fixed point.
struct Weights {
    int taps = 0;
    std::vector<Taps> ranges;           // [outputs]
    std::vector<std::int32_t> weights;  // [outputs, taps]
};

// Outputs `first` .. `first + count - 1` of the resize of [low, high) to `outputs`.
Weights make_weights(int inputs, float low, float high, int outputs, int first, int count) {
    const ResampleAxis axis = resample_axis(inputs, low, high, outputs);
    Weights w;
    w.taps = most_taps(axis.support);
    w.ranges.resize(static_cast<std::size_t>(count));
    w.weights.assign(static_cast<std::size_t>(count) * w.taps, 0);
    for (int i = 0; i < count; ++i)
        w.ranges[i] = resample_weights(axis, first + i, &w.weights[static_cast<std::size_t>(i) * w.taps]);
    return w;
}

// Part of an image: `rows` rows of `row_bytes` bytes, each `stride` bytes behind the one before.
// Its first pixel is (first_column, first_row) of the whole.
struct View {
    const std::uint8_t* data;
    std::size_t row_bytes, stride;
    int rows, first_column, first_row;
};

// out[r, x, :] = sum over k of in[r, range(x).first + k, :] * weight(x, k)
std::vector<std::uint8_t> horizontal(const View& in, const Weights& w) {
    std::vector<std::uint8_t> out(static_cast<std::size_t>(in.rows) * w.ranges.size() * 3);
    std::uint8_t* to = out.data();
    for (int r = 0; r < in.rows; ++r) {
        const std::uint8_t* row = in.data + static_cast<std::size_t>(r) * in.stride;
        for (std::size_t x = 0; x < w.ranges.size(); ++x, to += 3) {
            const std::uint8_t* from =
                row + static_cast<std::size_t>(w.ranges[x].first - in.first_column) * 3;
            const std::int32_t* weight = &w.weights[x * w.taps];
            std::int32_t sum0 = resample_half, sum1 = resample_half, sum2 = resample_half;
            for (int k = 0; k < w.ranges[x].count; ++k) {
                sum0 += from[3 * k] * weight[k];
                sum1 += from[3 * k + 1] * weight[k];
                sum2 += from[3 * k + 2] * weight[k];
            }
            to[0] = resample_rounded(sum0), to[1] = resample_rounded(sum1), to[2] = resample_rounded(sum2);
        }
    }
    return out;
}

// out[y, i] = sum over k of in[range(y).first + k, i] * weight(y, k), i over a row's bytes
std::vector<std::uint8_t> vertical(const View& in, const Weights& w) {
    std::vector<std::uint8_t> out(w.ranges.size() * in.row_bytes);
    std::vector<std::int32_t> sums(in.row_bytes);
    for (std::size_t y = 0; y < w.ranges.size(); ++y) {
        std::fill(sums.begin(), sums.end(), resample_half);
        for (int k = 0; k < w.ranges[y].count; ++k) {
            const std::uint8_t* from =
                in.data + static_cast<std::size_t>(w.ranges[y].first - in.first_row + k) * in.stride;
            const std::int32_t weight = w.weights[y * w.taps + k];
            for (std::size_t i = 0; i < in.row_bytes; ++i) sums[i] += from[i] * weight;
        }
        std::uint8_t* to = &out[y * in.row_bytes];
        for (std::size_t i = 0; i < in.row_bytes; ++i) to[i] = resample_rounded(sums[i]);
    }
    return out;
}

}  // namespace

Image resize_bilinear(const Image& image, const Box& box, const ResizeWindow& window) {
    const Weights across = make_weights(image.width, static_cast<float>(box.x0), static_cast<float>(box.x1),
                                        window.full_width, window.x, window.width);
    const Weights down = make_weights(image.height, static_cast<float>(box.y0), static_cast<float>(box.y1),
                                      window.full_height, window.y, window.height);
    // What either pass reads of the image.
    const int first_column = across.ranges.front().first, first_row = down.ranges.front().first;
    const int columns = across.ranges.back().first + across.ranges.back().count - first_column;
    const int rows = down.ranges.back().first + down.ranges.back().count - first_row;
    const std::size_t stride = static_cast<std::size_t>(image.width) * 3;
    const std::size_t row_bytes = static_cast<std::size_t>(columns) * 3;
    const View read{&image.rgb[static_cast<std::size_t>(first_row) * stride + first_column * 3],
                    row_bytes,
                    stride,
                    rows,
                    first_column,
                    first_row};

    const bool vertical_first =
        resample_vertical_first(image.width, image.height, window.full_width, window.full_height);
    if (vertical_first) {
        const std::vector<std::uint8_t> low = vertical(read, down);
        return {window.width, window.height,
                horizontal({low.data(), row_bytes, row_bytes, window.height, first_column, 0}, across)};
    }
    const std::vector<std::uint8_t> narrow = horizontal(read, across);
    const std::size_t narrow_bytes = static_cast<std::size_t>(window.width) * 3;
    return {window.width, window.height,
            vertical({narrow.data(), narrow_bytes, narrow_bytes, rows, 0, first_row}, down)};
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
