// The random view of an image that training sees: what is drawn, and the arithmetic on its pixels
// that needs neither the image's neighbours nor a library. For host and device: equal bits, so no
// function of <cmath> whose last digit differs between libraries (square root and rounding are
// exact everywhere).
#pragma once

#include <cmath>
#include <cstdint>

#include "rules/host_device.h"
#include "rules/rng.h"

namespace onecycle {

// What an augmentation policy draws.
struct ViewRule {
    bool crop;        // a random part of the image; else the image is the view already, of its size
    bool flip;        // mirrored half of the time
    bool strong;      // rotated, other colours, a part erased
    double min_area;  // of a crop, as a share of the image

    bool operator==(const ViewRule&) const = default;
};

// A part of an image in whole pixels.
struct Rectangle {
    std::int32_t x, y, width, height;

    ONECYCLE_HD bool contains(int px, int py) const {
        return px >= x && px < x + width && py >= y && py < y + height;
    }
};

// e^x for |x| below 2: the series in Horner's form, to the last digit or two.
ONECYCLE_HD inline double small_exp(double x) {
    double sum = 1;
    for (int n = 26; n > 0; --n) sum = 1 + mul_rn(x, sum) / n;
    return sum;
}
// Likewise, for |x| below 1.
ONECYCLE_HD inline double small_cos(double x) {
    const double square = mul_rn(x, x);
    double sum = 1;
    for (int n = 18; n > 0; n -= 2) sum = 1 - mul_rn(square, sum) / ((n - 1) * n);
    return sum;
}
ONECYCLE_HD inline double small_sin(double x) {
    const double square = mul_rn(x, x);
    double sum = 1;
    for (int n = 19; n > 1; n -= 2) sum = 1 - mul_rn(square, sum) / ((n - 1) * n);
    return mul_rn(x, sum);
}

ONECYCLE_HD inline int nearest(double x) {
    return static_cast<int>(nearbyint(x));
}

// Rotation about the centre, bilinear with 8 bits of position; what lies outside repeats the edge.
struct Rotation {
    double cosine, sine;

    // Pixel (x, y) of the rotated image, from all pixels of the square image.
    ONECYCLE_HD void pixel(const std::uint8_t* rgb, int size, int x, int y, std::uint8_t* to) const {
        const double middle = (size - 1) / 2.0, last = size - 1.0;
        const double across = mul_rn(cosine, x - middle) + mul_rn(sine, y - middle);
        const double down = mul_rn(cosine, y - middle) - mul_rn(sine, x - middle);
        const auto inside = [&](double at) { return at < 0 ? 0.0 : at > last ? last : at; };
        const double from_x = inside(middle + across), from_y = inside(middle + down);
        const int x0 = static_cast<int>(from_x), y0 = static_cast<int>(from_y);
        const int right = static_cast<int>((from_x - x0) * 256),
                  below = static_cast<int>((from_y - y0) * 256);
        const std::uint8_t* top = rgb + (static_cast<std::int64_t>(y0) * size + x0) * 3;
        const std::uint8_t* bottom = y0 + 1 < size ? top + std::int64_t{size} * 3 : top;
        const int next = x0 + 1 < size ? 3 : 0;
        for (int k = 0; k < 3; ++k) {
            const int upper = top[k] * (256 - right) + top[k + next] * right;
            const int lower = bottom[k] * (256 - right) + bottom[k + next] * right;
            to[k] = static_cast<std::uint8_t>((upper * (256 - below) + lower * below + 32768) >> 16);
        }
    }
};

// What was drawn for one view.
struct ViewDraw {
    Rectangle crop;  // of the image
    bool flip;
    // Strong only.
    Rotation rotation;
    double brightness, contrast, saturation;
    Rectangle erased;  // of the view; empty: nothing
};

// A crop as torchvision's RandomResizedCrop draws it: area uniform in [min_area, 1] of the image,
// ratio log-uniform in [3/4, 4/3], ten tries, then the centre crop of the nearest ratio.
ONECYCLE_HD inline Rectangle draw_crop(int width, int height, double min_area, RandomStream& random) {
    constexpr double log_ratio = 0.28768207245178093;  // of 4/3
    const double area = static_cast<double>(width) * height;
    for (int attempt = 0; attempt < 10; ++attempt) {
        const double target = area * random.uniform(min_area, 1.0);
        const double ratio = small_exp(random.uniform(-log_ratio, log_ratio));
        const int w = nearest(sqrt(target * ratio)), h = nearest(sqrt(target / ratio));
        if (w < 1 || h < 1 || w > width || h > height) continue;
        const int x = static_cast<int>(random.below(static_cast<std::uint32_t>(width - w + 1)));
        const int y = static_cast<int>(random.below(static_cast<std::uint32_t>(height - h + 1)));
        return {x, y, w, h};
    }
    int w = width, h = height;
    if (3 * static_cast<std::int64_t>(width) > 4 * static_cast<std::int64_t>(height))
        w = nearest(height * 4.0 / 3.0);
    if (4 * static_cast<std::int64_t>(width) < 3 * static_cast<std::int64_t>(height))
        h = nearest(width * 4.0 / 3.0);
    w = w > 1 ? w : 1, h = h > 1 ? h : 1;
    return {(width - w) / 2, (height - h) / 2, w, h};
}

// The longest side that draw_crop() may give: 4/3 of the shorter side, and rounding.
ONECYCLE_HD inline int longest_crop(int width, int height) {
    const std::int64_t shorter = width < height ? width : height, longer = width < height ? height : width;
    const std::int64_t limit = 4 * shorter / 3 + 2;
    return static_cast<int>(longer < limit ? longer : limit);
}

// A rectangle of 2 to 20 % of a view of size x size, its ratio in [0.3, 1/0.3].
ONECYCLE_HD inline Rectangle draw_erased(int size, RandomStream& random) {
    constexpr double log_ratio = 1.2039728043259361;  // of 1/0.3
    const double area = random.uniform(0.02, 0.2) * size * size;
    const double ratio = small_exp(random.uniform(-log_ratio, log_ratio));
    const auto side = [&](double wanted) {
        const int s = nearest(sqrt(wanted));
        return s < 1 ? 1 : s > size ? size : s;
    };
    const int w = side(area * ratio), h = side(area / ratio);
    const int x = static_cast<int>(random.below(static_cast<std::uint32_t>(size - w + 1)));
    const int y = static_cast<int>(random.below(static_cast<std::uint32_t>(size - h + 1)));
    return {x, y, w, h};
}

// The view of size x size of an image of width x height.
ONECYCLE_HD inline ViewDraw draw_view(const ViewRule& rule, int width, int height, int size,
                                      RandomStream random) {
    constexpr double max_angle = 10 * 3.14159265358979323846 / 180;
    constexpr double jitter = 0.4;         // of brightness, contrast and saturation
    constexpr double erase_chance = 0.25;  // of a view
    ViewDraw draw{{0, 0, width, height}, false, {1, 0}, 1, 1, 1, {0, 0, 0, 0}};
    if (rule.crop) draw.crop = draw_crop(width, height, rule.min_area, random);
    if (rule.flip) draw.flip = random.uniform() < 0.5;
    if (!rule.strong) return draw;
    const double angle = random.uniform(-max_angle, max_angle);
    draw.rotation = {small_cos(angle), small_sin(angle)};
    draw.brightness = random.uniform(1 - jitter, 1 + jitter);
    draw.contrast = random.uniform(1 - jitter, 1 + jitter);
    draw.saturation = random.uniform(1 - jitter, 1 + jitter);
    if (random.uniform() < erase_chance) draw.erased = draw_erased(size, random);
    return draw;
}

// Grey value times 1000, so that sums are whole numbers, the same in every order.
ONECYCLE_HD inline int luma_1000(const std::uint8_t* rgb) {
    return 299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2];
}

// Brightness (towards black), then contrast (towards the mean grey), then saturation (towards each
// pixel's own grey), as torchvision's ColorJitter, in one pass without rounding between.
struct ColourJitter {
    double brightness, contrast, saturation;
    double mean;  // grey, of the image made brighter

    // `luma_sum`: of luma_1000 over so many pixels.
    ONECYCLE_HD ColourJitter(const ViewDraw& draw, std::uint64_t luma_sum, std::int64_t pixels)
        : brightness(draw.brightness),
          contrast(draw.contrast),
          saturation(draw.saturation),
          mean(mul_rn(static_cast<double>(luma_sum) / 1000.0 / static_cast<double>(pixels),
                      draw.brightness)) {}

    ONECYCLE_HD void apply(std::uint8_t* rgb) const {
        const auto contrasted = [&](double value) {
            return mean + mul_rn(contrast, mul_rn(brightness, value) - mean);
        };
        const double grey = contrasted(luma_1000(rgb) / 1000.0);
        for (int k = 0; k < 3; ++k) {
            const double value = grey + mul_rn(saturation, contrasted(rgb[k]) - grey);
            rgb[k] = static_cast<std::uint8_t>((value < 0 ? 0.0 : value > 255 ? 255.0 : value) + 0.5);
        }
    }
};

// What an erased part shows: ImageNet's mean.
ONECYCLE_HD inline void erase_pixel(std::uint8_t* rgb) {
    rgb[0] = 124, rgb[1] = 116, rgb[2] = 104;
}

}  // namespace onecycle
