#include "onecycle/augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "onecycle/rng.h"

namespace onecycle {

namespace {

constexpr std::array<const char*, 4> policy_names = {"none", "flip", "standard", "strong"};

constexpr double standard_min_area = 0.35;
constexpr double strong_min_area = 0.2;
constexpr double jitter = 0.4;         // of brightness, contrast and saturation
constexpr double max_degrees = 10;     // of rotation
constexpr double erase_chance = 0.25;  // of a view
constexpr std::array<std::uint8_t, 3> imagenet_mean = {124, 116, 104};

Box crop_box(int width, int height, double min_area, RandomStream& random) {
    const double area = static_cast<double>(width) * height;
    const double low_ratio = std::log(3.0 / 4.0), high_ratio = std::log(4.0 / 3.0);
    for (int attempt = 0; attempt < 10; ++attempt) {
        const double target = area * random.uniform(min_area, 1.0);
        const double ratio = std::exp(random.uniform(low_ratio, high_ratio));
        const int w = static_cast<int>(std::nearbyint(std::sqrt(target * ratio)));
        const int h = static_cast<int>(std::nearbyint(std::sqrt(target / ratio)));
        if (w < 1 || h < 1 || w > width || h > height) continue;
        const int x = static_cast<int>(random.below(static_cast<std::uint32_t>(width - w + 1)));
        const int y = static_cast<int>(random.below(static_cast<std::uint32_t>(height - h + 1)));
        return {double(x), double(y), double(x + w), double(y + h)};
    }
    int w = width, h = height;
    if (3 * width > 4 * height) w = static_cast<int>(std::nearbyint(height * 4.0 / 3.0));
    if (4 * width < 3 * height) h = static_cast<int>(std::nearbyint(width * 4.0 / 3.0));
    w = std::max(w, 1), h = std::max(h, 1);
    const int x = (width - w) / 2, y = (height - h) / 2;
    return {double(x), double(y), double(x + w), double(y + h)};
}

void mirror(Image& image) {
    for (int y = 0; y < image.height; ++y) {
        std::uint8_t* left = &image.rgb[static_cast<std::size_t>(y) * image.width * 3];
        std::uint8_t* right = left + (static_cast<std::size_t>(image.width) - 1) * 3;
        for (; left < right; left += 3, right -= 3) std::swap_ranges(left, left + 3, right);
    }
}

// About the centre, bilinear; what lies outside repeats the edge.
Image rotated(const Image& image, double degrees) {
    const double c = std::cos(degrees * std::numbers::pi / 180),
                 s = std::sin(degrees * std::numbers::pi / 180);
    const double mid_x = (image.width - 1) / 2.0, mid_y = (image.height - 1) / 2.0;
    Image out{image.width, image.height, std::vector<std::uint8_t>(image.rgb.size())};
    std::uint8_t* to = out.rgb.data();
    for (int y = 0; y < image.height; ++y)
        for (int x = 0; x < image.width; ++x, to += 3) {
            const double from_x =
                std::clamp(mid_x + c * (x - mid_x) + s * (y - mid_y), 0.0, image.width - 1.0);
            const double from_y =
                std::clamp(mid_y - s * (x - mid_x) + c * (y - mid_y), 0.0, image.height - 1.0);
            const int x0 = static_cast<int>(from_x), y0 = static_cast<int>(from_y);
            const int right = static_cast<int>((from_x - x0) * 256),
                      below = static_cast<int>((from_y - y0) * 256);
            const std::uint8_t* top = &image.rgb[(static_cast<std::size_t>(y0) * image.width + x0) * 3];
            const std::uint8_t* bottom = y0 + 1 < image.height ? top + image.width * 3 : top;
            const int next = x0 + 1 < image.width ? 3 : 0;
            for (int k = 0; k < 3; ++k) {
                const int upper = top[k] * (256 - right) + top[k + next] * right;
                const int lower = bottom[k] * (256 - right) + bottom[k + next] * right;
                to[k] = static_cast<std::uint8_t>((upper * (256 - below) + lower * below + 32768) >> 16);
            }
        }
    return out;
}

double luma(const std::uint8_t* rgb) {
    return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
}

// Brightness (towards black), then contrast (towards the mean grey), then saturation (towards each pixel's
// own grey), as torchvision's ColorJitter, in one pass without rounding between.
void jitter_colour(Image& image, double brightness, double contrast, double saturation) {
    double mean = 0;
    for (std::size_t i = 0; i < image.rgb.size(); i += 3) mean += luma(&image.rgb[i]);
    mean *= brightness / (static_cast<double>(image.rgb.size()) / 3);
    for (std::size_t i = 0; i < image.rgb.size(); i += 3) {
        const double grey = mean + contrast * (brightness * luma(&image.rgb[i]) - mean);
        for (std::size_t k = 0; k < 3; ++k) {
            const double value = mean + contrast * (brightness * image.rgb[i + k] - mean);
            image.rgb[i + k] =
                static_cast<std::uint8_t>(std::clamp(grey + saturation * (value - grey), 0.0, 255.0) + 0.5);
        }
    }
}

// A rectangle of 2 to 20 % of the area gets the mean colour.
void erase_rectangle(Image& image, RandomStream& random) {
    const double area = random.uniform(0.02, 0.2) * image.width * image.height;
    const double ratio = std::exp(random.uniform(std::log(0.3), std::log(1 / 0.3)));
    const int w = std::clamp(static_cast<int>(std::nearbyint(std::sqrt(area * ratio))), 1, image.width);
    const int h = std::clamp(static_cast<int>(std::nearbyint(std::sqrt(area / ratio))), 1, image.height);
    const int left = static_cast<int>(random.below(static_cast<std::uint32_t>(image.width - w + 1)));
    const int top = static_cast<int>(random.below(static_cast<std::uint32_t>(image.height - h + 1)));
    for (int y = top; y < top + h; ++y)
        for (int x = left; x < left + w; ++x)
            std::copy(imagenet_mean.begin(), imagenet_mean.end(),
                      &image.rgb[(static_cast<std::size_t>(y) * image.width + x) * 3]);
}

RandomStream stream_of(const ViewKey& key) {
    return RandomStream(key.seed, RandomPurpose::augment, key.epoch, key.sample);
}

}  // namespace

AugmentPolicy parse_augment(const std::string& name) {
    for (std::size_t k = 0; k < policy_names.size(); ++k)
        if (name == policy_names[k]) return static_cast<AugmentPolicy>(k);
    throw Error(ErrorKind::usage, "unknown augmentation", "--augment", "'" + name + "'",
                "none, flip, standard or strong");
}

std::string to_string(AugmentPolicy policy) {
    return policy_names[static_cast<std::size_t>(policy)];
}

std::string describe(AugmentPolicy policy) {
    switch (policy) {
        case AugmentPolicy::none:
            return "the evaluation view: resized, centre crop";
        case AugmentPolicy::flip:
            return "the evaluation view, mirrored half of the time";
        case AugmentPolicy::standard:
            return "random resized crop (35-100 % of the area, ratio 3/4-4/3), mirrored half of the time";
        case AugmentPolicy::strong:
            break;
    }
    return "random resized crop (20-100 % of the area, ratio 3/4-4/3), mirrored half of the time, rotated by "
           "up to 10 degrees, brightness, contrast and saturation by up to 40 %, and in a quarter of the "
           "views a rectangle of 2-20 % of the area erased";
}

bool crops_at_random(AugmentPolicy policy) {
    return policy == AugmentPolicy::standard || policy == AugmentPolicy::strong;
}

Image evaluation_view(const Image& image, int size, double crop_pct) {
    if (image.width == size && image.height == size) return image;
    const int short_side = static_cast<int>(std::nearbyint(size / crop_pct));
    const int shorter = std::min(image.width, image.height), longer = std::max(image.width, image.height);
    const int long_side = static_cast<int>(static_cast<double>(std::int64_t{short_side} * longer) / shorter);
    const int width = image.width <= image.height ? short_side : long_side;
    const int height = image.width <= image.height ? long_side : short_side;
    const auto offset = [&](int side) { return static_cast<int>(std::nearbyint((side - size) / 2.0)); };
    return resize_bilinear(image, {0, 0, double(image.width), double(image.height)},
                           {width, height, offset(width), offset(height), size, size});
}

Box random_resized_crop(int width, int height, double min_area, const ViewKey& key) {
    RandomStream random = stream_of(key);
    return crop_box(width, height, min_area, random);
}

Image training_view(const Image& image, AugmentPolicy policy, int size, double crop_pct, const ViewKey& key) {
    RandomStream random = stream_of(key);
    Image view;
    if (crops_at_random(policy)) {
        const double min_area = policy == AugmentPolicy::strong ? strong_min_area : standard_min_area;
        view = resize_bilinear(image, crop_box(image.width, image.height, min_area, random), size, size);
    } else {
        view = evaluation_view(image, size, crop_pct);
    }
    if (policy == AugmentPolicy::none) return view;
    if (random.uniform() < 0.5) mirror(view);
    if (policy != AugmentPolicy::strong) return view;

    view = rotated(view, random.uniform(-max_degrees, max_degrees));
    const double brightness = random.uniform(1 - jitter, 1 + jitter);
    const double contrast = random.uniform(1 - jitter, 1 + jitter);
    const double saturation = random.uniform(1 - jitter, 1 + jitter);
    jitter_colour(view, brightness, contrast, saturation);
    if (random.uniform() < erase_chance) erase_rectangle(view, random);
    return view;
}

}  // namespace onecycle
