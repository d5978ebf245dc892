#include "data/resident_images.h"

#include <algorithm>
#include <memory>

#include "core/threads.h"
#include "data/sample_image.h"
#include "rules/view.h"

namespace onecycle {

namespace {

constexpr std::size_t image_alignment = 16;

// Of a file whose size nobody has looked at yet.
void measure(const Sample& sample, ImageFaults* faults, const std::shared_ptr<DecodeBudget>& budget,
             std::int64_t& width, std::int64_t& height) try {
    const Image image = decode_sample(sample, 0, budget);
    width = image.width, height = image.height;
} catch (const ImageError&) {
    if (!faults) throw;
}

}  // namespace

ResidentPlan plan_resident_images(const std::vector<Sample>& samples, const KeptRule& rule,
                                  ImageFaults* faults, const std::shared_ptr<DecodeBudget>& budget,
                                  const std::function<bool(std::size_t)>& holds) {
    const bool crops = crops_at_random(rule.augment);
    ResidentPlan plan;
    for (std::size_t k = 0; k < samples.size(); ++k) {
        const Sample& sample = samples[k];
        if (holds && !holds(k)) {
            plan.table.push_back({.offset = 0, .width = 0, .height = 0, .label = sample.label, .unused = 0});
            continue;
        }
        plan.held.push_back(k);
        std::int64_t width = sample.width, height = sample.height;
        if (crops && width == 0) measure(sample, faults, budget, width, height);
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
        plan.bytes += (kept.bytes() + image_alignment - 1) / image_alignment * image_alignment;
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
    for (std::size_t first = 0; first < plan.held.size(); first += part) {
        const std::size_t n = std::min(part, plan.held.size() - first);
        for_each_index(n, threads, [&](std::size_t k) {
            const std::size_t at = plan.held[first + k];
            const auto id = static_cast<std::int64_t>(at);
            made[k] = usable_image(kept, faults, true, from, id, samples[at]);
            if (made[k] == nullptr || plan.table[at].width > 0) return;
            faults->add(
                {true, id, from, samples[at].path(), "could not be read when the images were counted"});
            made[k] = nullptr;
        });
        for (std::size_t k = 0; k < n; ++k) take(plan.held[first + k], made[k] ? *made[k] : nothing);
    }
}

}  // namespace onecycle
