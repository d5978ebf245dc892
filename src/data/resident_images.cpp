#include "data/resident_images.h"

#include <algorithm>
#include <memory>

#include "core/threads.h"
#include "core/view.h"
#include "data/sample_image.h"

namespace onecycle {

namespace {

constexpr std::size_t alignment = 16;

// Null where it cannot be used: then it was taken note of.
std::shared_ptr<const Image> usable_image(const std::vector<Sample>& samples, std::size_t k,
                                          const ResidentPlan& plan, KeptImages& kept, ImageFaults* faults,
                                          std::int64_t from) {
    const auto id = static_cast<std::int64_t>(k);
    if (faults && faults->left_out(true, id, from)) return nullptr;
    try {
        auto image = kept.get(k, samples[k]);
        if (plan.table[k].width == 0)
            throw ImageError(samples[k].path, "could not be read when the images were counted");
        if (faults && image->damaged) faults->note_damaged(samples[k].path);
        return image;
    } catch (const ImageError& error) {
        if (!faults) throw;
        faults->add({true, id, from, samples[k].path, error.reason()});
        return nullptr;
    }
}

// Of a file whose size nobody has looked at yet.
void measure(const Sample& sample, ImageFaults* faults, std::int64_t& width, std::int64_t& height) try {
    const Image image = decode_sample(sample, 0);
    width = image.width, height = image.height;
} catch (const ImageError&) {
    if (!faults) throw;
}

}  // namespace

ResidentPlan plan_resident_images(const std::vector<Sample>& samples, const KeptRule& rule,
                                  ImageFaults* faults) {
    const bool crops = crops_at_random(rule.augment);
    ResidentPlan plan;
    for (const Sample& sample : samples) {
        std::int64_t width = sample.width, height = sample.height;
        if (crops && width == 0) measure(sample, faults, width, height);
        const KeptSize kept = kept_size(rule, width, height);
        if (crops) {
            if (kept.width != width || kept.height != height) ++plan.shrunk;
            plan.largest_crop = std::max(
                plan.largest_crop, longest_crop(static_cast<int>(kept.width), static_cast<int>(kept.height)));
        }
        plan.table.push_back({.offset = static_cast<std::int64_t>(plan.bytes),
                              .width = static_cast<std::int32_t>(kept.width),
                              .height = static_cast<std::int32_t>(kept.height),
                              .label = sample.label,
                              .unused = 0});
        plan.bytes += (kept.bytes() + alignment - 1) / alignment * alignment;
    }
    if (!crops) plan.largest_crop = rule.size;
    return plan;
}

void make_resident_images(const std::vector<Sample>& samples, const ResidentPlan& plan, KeptImages& kept,
                          int threads, const std::function<void(std::size_t, const Image&)>& take,
                          ImageFaults* faults, std::int64_t from) {
    // A part of the list at a time: what is made and not yet taken stays small.
    const std::size_t part = 16 * static_cast<std::size_t>(std::max(threads, 1));
    const Image nothing;
    std::vector<std::shared_ptr<const Image>> made(part);
    for (std::size_t first = 0; first < samples.size(); first += part) {
        const std::size_t n = std::min(part, samples.size() - first);
        for_each_index(n, threads, [&](std::size_t k) {
            made[k] = usable_image(samples, first + k, plan, kept, faults, from);
        });
        for (std::size_t k = 0; k < n; ++k) take(first + k, made[k] ? *made[k] : nothing);
    }
}

}  // namespace onecycle
