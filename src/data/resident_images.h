// Kept images side by side in one piece of memory, as a device reads them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "data/image_faults.h"
#include "data/kept_images.h"
#include "onecycle/dataset.h"
#include "onecycle/image.h"
#include "rules/resident_image.h"

namespace onecycle {

struct ResidentPlan {
    std::vector<ResidentImage> table;  // [samples]
    std::vector<std::size_t> held;     // samples that there is room for, in the list's order
    std::size_t bytes = 0;             // of all pixels
    std::size_t shrunk = 0;            // images kept smaller than they are
    int largest_crop = 0;              // the longest side that a view reads of any image
};

// Of those samples that `holds` (null: all). Opens those files whose size is not known yet; with
// `faults`, one that cannot be read gets no room. `budget`: as ImageLimits::memory.
ResidentPlan plan_resident_images(const std::vector<Sample>& samples, const KeptRule& rule,
                                  ImageFaults* faults = nullptr,
                                  const std::shared_ptr<DecodeBudget>& budget = nullptr,
                                  const std::function<bool(std::size_t sample)>& holds = {});

// Gets the images on several threads and hands them over in order, on the calling thread. An
// exception from `take` ends it. One that can no longer be read, or is another than when the list
// was made, is handed over without pixels and is left out of all batches from number `from` on, as
// those are that were before. Throws UnusableImage where the rules of `faults` do not allow that;
// without `faults`, ImageError.
void make_resident_images(const std::vector<Sample>& samples, const ResidentPlan& plan, KeptImages& kept,
                          int threads, const std::function<void(std::size_t sample, const Image&)>& take,
                          ImageFaults* faults = nullptr, std::int64_t from = 0);

}  // namespace onecycle
