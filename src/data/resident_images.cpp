#include "data/resident_images.h"

#include <algorithm>
#include <cmath>

#include "core/threads.h"
#include "core/view.h"
#include "data/sample_image.h"

namespace onecycle {

namespace {

constexpr std::size_t alignment = 16;

int evaluation_side(const ResidentOptions& options) {
    return static_cast<int>(std::nearbyint(options.size / options.crop_pct));
}

int short_side_kept(const ResidentOptions& options) {
    return static_cast<int>(std::nearbyint(options.margin * evaluation_side(options)));
}

Image make_image(const Sample& sample, const ResidentImage& kept, const ResidentOptions& options) {
    if (!crops_at_random(options.augment))
        return evaluation_view(decode_sample(sample, 0, options.faults.get()), options.size, options.crop_pct);
    const Image image =
        decode_sample(sample, std::max(short_side_for_crops(options.size), short_side_kept(options)),
                      options.faults.get());
    if (kept.width == 0) throw ImageError(sample.path, "could not be read when the images were counted");
    return resize_bilinear(image, kept.width, kept.height);
}

// The same, or an image without pixels.
Image make_usable_image(const std::vector<Sample>& samples, std::size_t k, const ResidentPlan& plan,
                        const ResidentOptions& options, std::int64_t from) {
    const Sample& sample = samples[k];
    if (options.faults == nullptr) return make_image(sample, plan.table[k], options);
    const auto id = static_cast<std::int64_t>(k);
    if (options.faults->left_out(true, id, from)) return {};
    try {
        return make_image(sample, plan.table[k], options);
    } catch (const ImageError& error) {
        options.faults->add({true, id, from, sample.path, error.reason()});
        return {};
    }
}

// Of a file whose size nobody has looked at yet.
void measure(const Sample& sample, const ResidentOptions& options, std::int64_t& width,
             std::int64_t& height) try {
    const Image image = decode_sample(sample, 0);
    width = image.width, height = image.height;
} catch (const ImageError&) {
    if (options.faults == nullptr) throw;
}

}  // namespace

ResidentPlan plan_resident_images(const std::vector<Sample>& samples, const ResidentOptions& options) {
    const bool crops = crops_at_random(options.augment);
    const int most = short_side_kept(options);
    ResidentPlan plan;
    for (const Sample& sample : samples) {
        std::int64_t width = options.size, height = options.size;
        if (crops) {
            width = sample.width, height = sample.height;
            if (width == 0) measure(sample, options, width, height);
            const std::int64_t shorter = std::min(width, height);
            if (shorter > most) {
                // As evaluation_view() does it: the long side is cut to a whole number.
                width = width * most / shorter;
                height = height * most / shorter;
                ++plan.shrunk;
            }
            plan.largest_crop =
                std::max(plan.largest_crop, longest_crop(static_cast<int>(width), static_cast<int>(height)));
        }
        plan.table.push_back({.offset = static_cast<std::int64_t>(plan.bytes),
                              .width = static_cast<std::int32_t>(width),
                              .height = static_cast<std::int32_t>(height),
                              .label = sample.label,
                              .unused = 0});
        plan.bytes += static_cast<std::size_t>(width * height * 3 + alignment - 1) / alignment * alignment;
    }
    if (!crops) plan.largest_crop = options.size;
    return plan;
}

void make_resident_images(const std::vector<Sample>& samples, const ResidentPlan& plan,
                          const ResidentOptions& options,
                          const std::function<void(std::size_t, const Image&)>& take, std::int64_t from) {
    // A part of the list at a time: what is made and not yet taken stays small.
    const std::size_t part = 16 * static_cast<std::size_t>(std::max(options.threads, 1));
    std::vector<Image> made(part);
    for (std::size_t first = 0; first < samples.size(); first += part) {
        const std::size_t n = std::min(part, samples.size() - first);
        for_each_index(n, options.threads, [&](std::size_t k) {
            made[k] = make_usable_image(samples, first + k, plan, options, from);
        });
        for (std::size_t k = 0; k < n; ++k) take(first + k, made[k]);
    }
}

}  // namespace onecycle
