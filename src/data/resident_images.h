// The training images as a device keeps them: decoded once, no larger than their views need. Each view is then a crop
// of what is kept, so keeping less costs sharpness in small crops, and is the only difference from views of
// the files themselves.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "core/resident_image.h"
#include "onecycle/augment.h"
#include "onecycle/dataset.h"
#include "onecycle/image.h"
#include "onecycle/image_faults.h"

namespace onecycle {

// The short side that is kept, in units of the short side that evaluation resizes to.
inline constexpr double resident_margin = 1.15;

struct ResidentOptions {
    int size = 224;
    AugmentPolicy augment = AugmentPolicy::standard;
    double crop_pct = 0.875;
    double margin = resident_margin;
    int threads = 1;
    std::shared_ptr<ImageFaults> faults{};  // as LoaderOptions::faults
};

struct ResidentPlan {
    std::vector<ResidentImage> table;  // [samples]
    std::size_t bytes = 0;             // of all pixels
    std::size_t shrunk = 0;            // images kept smaller than they are
    int largest_crop = 0;              // the longest side that a view reads of any image
};

// How the images are kept. For policies that crop at random: with their aspect ratio, the short side at most
// round(margin * round(size / crop_pct)); an image that is smaller is kept as it is. For the others: the
// evaluation view, of which nothing is lost. Opens those files whose size is not known yet; with `faults`, one that
// cannot be read gets no room.
ResidentPlan plan_resident_images(const std::vector<Sample>& samples, const ResidentOptions& options);

// Makes the images on several threads and hands them over in order, on the calling thread. An exception from `take`
// ends it. One that can no longer be read, or is another than when the list was made, is handed over without pixels and
// is left out of all batches from number `from` on, as those are that were before. Throws UnusableImage where the
// rules of `faults` do not allow that; without `faults`, ImageError.
void make_resident_images(const std::vector<Sample>& samples, const ResidentPlan& plan,
                          const ResidentOptions& options,
                          const std::function<void(std::size_t sample, const Image&)>& take,
                          std::int64_t from = 0);

}  // namespace onecycle
