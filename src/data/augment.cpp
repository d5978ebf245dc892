#include "onecycle/image.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "data/view_rule.h"
#include "rules/rng.h"
#include "rules/view.h"

namespace onecycle {

namespace {

constexpr std::array<const char*, 4> policy_names = {"none", "flip", "standard", "strong"};

void mirror(Image& image) {
    for (int y = 0; y < image.height; ++y) {
        std::uint8_t* left = &image.rgb[static_cast<std::size_t>(y) * image.width * 3];
        std::uint8_t* right = left + (static_cast<std::size_t>(image.width) - 1) * 3;
        for (; left < right; left += 3, right -= 3) std::swap_ranges(left, left + 3, right);
    }
}

Image rotated(const Image& image, const Rotation& rotation) {
    Image out{image.width, image.height, std::vector<std::uint8_t>(image.rgb.size())};
    std::uint8_t* to = out.rgb.data();
    for (int y = 0; y < image.height; ++y)
        for (int x = 0; x < image.width; ++x, to += 3)
            rotation.pixel(image.rgb.data(), image.width, x, y, to);
    return out;
}

void jitter_colour(Image& image, const ViewDraw& draw) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < image.rgb.size(); i += 3)
        sum += static_cast<std::uint64_t>(luma_1000(&image.rgb[i]));
    const ColourJitter jitter(draw, sum, static_cast<std::int64_t>(image.rgb.size() / 3));
    for (std::size_t i = 0; i < image.rgb.size(); i += 3) jitter.apply(&image.rgb[i]);
}

void erase(Image& image, const Rectangle& part) {
    for (int y = part.y; y < part.y + part.height; ++y)
        for (int x = part.x; x < part.x + part.width; ++x)
            erase_pixel(&image.rgb[(static_cast<std::size_t>(y) * image.width + x) * 3]);
}

RandomStream stream_of(const ViewKey& key) {
    return RandomStream(key.seed, RandomPurpose::augment, key.epoch, key.sample);
}

Box box_of(const Rectangle& r) {
    return {double(r.x), double(r.y), double(r.x + r.width), double(r.y + r.height)};
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

ViewRule view_rule(AugmentPolicy policy) {
    return {.crop = crops_at_random(policy),
            .flip = policy != AugmentPolicy::none,
            .strong = policy == AugmentPolicy::strong,
            .min_area = policy == AugmentPolicy::strong ? 0.2 : 0.35};
}

Image training_view(const Image& image, AugmentPolicy policy, int size, double crop_pct, const ViewKey& key) {
    const ViewRule rule = view_rule(policy);
    const ViewDraw draw = draw_view(rule, image.width, image.height, size, stream_of(key));
    Image view = rule.crop ? resize_bilinear(image, box_of(draw.crop), size, size)
                           : evaluation_view(image, size, crop_pct);
    if (draw.flip) mirror(view);
    if (!rule.strong) return view;
    view = rotated(view, draw.rotation);
    jitter_colour(view, draw);
    erase(view, draw.erased);
    return view;
}

}  // namespace onecycle
