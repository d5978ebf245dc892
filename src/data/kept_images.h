// What training reads its images from: each source is decoded once and kept no larger than its
// views need. Each view is a crop of what is kept, so keeping less costs sharpness in small crops
// of large images. The pixels are the same wherever they are kept, and also where they are made
// anew each time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "data/image_faults.h"
#include "onecycle/dataset.h"
#include "onecycle/image.h"

namespace onecycle {

class ImageCache;

// The short side that is kept, in units of the short side that evaluation resizes to.
inline constexpr double kept_margin = 1.15;

// How images are kept. For policies that crop at random: with their aspect ratio, the short side at
// most round(margin * round(size / crop_pct)); an image that is smaller is kept as it is. For the
// others: the evaluation view, of which nothing is lost.
struct KeptRule {
    int size = 224;
    AugmentPolicy augment = AugmentPolicy::standard;
    double crop_pct = 0.875;
    double margin = kept_margin;

    int short_side() const;
    std::uint64_t digest() const;  // equal for rules that keep the same pixels
};

struct KeptSize {
    std::int64_t width = 0, height = 0;
    std::size_t bytes() const { return static_cast<std::size_t>(3 * width * height); }
};
// Of an image of this size.
KeptSize kept_size(const KeptRule& rule, std::int64_t width, std::int64_t height);
// Of all; an image whose size is not known counts as a square of the kept side.
std::size_t kept_bytes(const KeptRule& rule, const std::vector<Sample>& samples);

// Decodes the file and makes it smaller. Throws Error(data) that names the file for one that cannot
// be read or has changed.
Image make_kept_image(const Sample& sample, const KeptRule& rule,
                      const std::shared_ptr<DecodeBudget>& budget = nullptr);

// The kept images of a list, made when they are first asked for. They are found again in memory, up
// to a bound (nothing is ever thrown out: each epoch reads every sample once, and then any choice
// is as good), and in a file.
class KeptImages {
  public:
    // `budget`: as ImageLimits::memory.
    KeptImages(const KeptRule& rule, std::size_t memory_bytes, std::shared_ptr<ImageCache> file = nullptr,
               std::shared_ptr<DecodeBudget> budget = nullptr);

    const KeptRule& rule() const { return rule_; }
    // `id` is the sample's place in the list. From several threads. The file is looked at each
    // time, so that its loss shows in the same batch whatever is kept. Throws as make_kept_image().
    std::shared_ptr<const Image> get(std::size_t id, const Sample& sample);
    // To be called at the begin of an epoch: takes in what another process has put into the file.
    void refresh();
    // How many images were made, since none was found.
    std::size_t made() const { return made_; }

  private:
    KeptRule rule_;
    std::uint64_t rule_digest_;
    std::shared_ptr<ImageCache> file_;
    std::shared_ptr<DecodeBudget> budget_;
    std::atomic<std::size_t> made_{0};
    std::mutex mutex_;
    struct Kept {
        std::shared_ptr<const Image> image{};
        std::int64_t changed = 0;  // when the source was
    };
    std::vector<Kept> memory_;
    std::size_t max_bytes_, bytes_ = 0;
};

// get(), or null for an image that cannot be used: then `faults` took note of it, from the batch of
// this number on, as it does of a damaged one. Without `faults` it throws as get().
std::shared_ptr<const Image> usable_image(KeptImages& kept, ImageFaults* faults, bool training,
                                          std::int64_t number, std::int64_t id, const Sample& sample);

}  // namespace onecycle
