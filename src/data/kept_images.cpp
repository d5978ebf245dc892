#include "data/kept_images.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "data/image_cache.h"
#include "data/sample_image.h"

namespace onecycle {

int KeptRule::short_side() const {
    return static_cast<int>(std::nearbyint(margin * static_cast<int>(std::nearbyint(size / crop_pct))));
}

std::uint64_t KeptRule::digest() const {
    const bool crops = crops_at_random(augment);
    const double numbers[] = {crops ? 1.0 : 0.0, double(size), crops ? double(short_side()) : crop_pct};
    return XXH3_64bits(numbers, sizeof numbers);
}

KeptSize kept_size(const KeptRule& rule, std::int64_t width, std::int64_t height) {
    if (!crops_at_random(rule.augment)) return {rule.size, rule.size};
    const std::int64_t shorter = std::min(width, height), most = rule.short_side();
    if (shorter <= most) return {width, height};
    // As evaluation_view() does it: the long side is cut to a whole number.
    return {width * most / shorter, height * most / shorter};
}

std::size_t kept_bytes(const KeptRule& rule, const std::vector<Sample>& samples) {
    std::size_t bytes = 0;
    for (const Sample& sample : samples)
        bytes += (sample.width > 0 ? kept_size(rule, sample.width, sample.height)
                                   : kept_size(rule, rule.short_side(), rule.short_side()))
                     .bytes();
    return bytes;
}

Image make_kept_image(const Sample& sample, const KeptRule& rule,
                      const std::shared_ptr<DecodeBudget>& budget) {
    if (!crops_at_random(rule.augment)) {
        const Image whole = decode_sample(sample, 0, budget);
        Image view = evaluation_view(whole, rule.size, rule.crop_pct);
        view.damaged = whole.damaged;
        return view;
    }
    std::int64_t width = sample.width, height = sample.height;
    if (width == 0) {
        const Image whole = decode_sample(sample, 0, budget);
        width = whole.width, height = whole.height;
    }
    // A decoder that divides the size rounds it: what is kept follows from the file's own.
    const KeptSize kept = kept_size(rule, width, height);
    Image image = decode_sample(sample, std::max(short_side_for_crops(rule.size), rule.short_side()), budget);
    if (kept.width == image.width && kept.height == image.height) return image;
    Image smaller = resize_bilinear(image, static_cast<int>(kept.width), static_cast<int>(kept.height));
    smaller.damaged = image.damaged;
    return smaller;
}

KeptImages::KeptImages(const KeptRule& rule, std::size_t memory_bytes, std::shared_ptr<ImageCache> file,
                       std::shared_ptr<DecodeBudget> budget)
    : rule_(rule),
      rule_digest_(rule.digest()),
      file_(std::move(file)),
      budget_(std::move(budget)),
      max_bytes_(memory_bytes) {}

std::shared_ptr<const Image> KeptImages::get(std::size_t id, const Sample& sample) {
    const std::int64_t changed = check_file_of(sample);
    {
        const std::lock_guard lock(mutex_);
        if (id < memory_.size() && memory_[id].image && memory_[id].changed == changed)
            return memory_[id].image;
    }
    // Whoever has only touched the file since the list was made finds it good, but not in the file
    // of images.
    const bool as_listed = file_ && sample.changed == changed;
    std::optional<Image> found;
    if (as_listed) found = file_->find(sample, rule_digest_);
    if (!found) {
        found = make_kept_image(sample, rule_, budget_);
        ++made_;
        // Each run names what is damaged, so the next one must decode it, too.
        if (as_listed && !found->damaged) file_->add(sample, rule_digest_, *found);
    }
    auto image = std::make_shared<const Image>(std::move(*found));
    const std::lock_guard lock(mutex_);
    const std::size_t bytes = image->rgb.size();
    const bool there = id < memory_.size() && memory_[id].image;
    if (!there && bytes > max_bytes_ - bytes_) return image;
    if (id >= memory_.size()) memory_.resize(id + 1);
    if (!there) bytes_ += bytes;
    memory_[id] = {image, changed};
    return image;
}

void KeptImages::refresh() {
    if (file_) file_->refresh();
}

std::shared_ptr<const Image> usable_image(KeptImages& kept, ImageFaults* faults, bool training,
                                          std::int64_t number, std::int64_t id, const Sample& sample) {
    const auto index = static_cast<std::size_t>(id);
    if (faults == nullptr) return kept.get(index, sample);
    if (faults->left_out(training, id, number)) return nullptr;
    try {
        std::shared_ptr<const Image> image = kept.get(index, sample);
        if (image->damaged) faults->note_damaged(sample.path());
        return image;
    } catch (const ImageError& error) {
        faults->add({training, id, number, sample.path(), error.reason()});
        return nullptr;
    }
}

}  // namespace onecycle
