// Where a training's images are kept on the host: in memory, in a file for the next start, or
// nowhere. It decides what is made how often, never a result: the pixels are those of KeptRule
// wherever they come from.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/image_cache.h"
#include "data/kept_images.h"
#include "onecycle/log.h"
#include "onecycle/options.h"

namespace onecycle {

// Of training images: crops are cut from the images of the largest size, whole views are kept as
// they are used.
KeptRule training_rule(const TrainOptions& options, int size);
KeptRule evaluation_rule(const TrainOptions& options, int size);

// Under which the images may lie when `--cache` does not say; empty where there is no such place.
std::string default_cache_folder();

// `--cache`, or where the images lie without it; empty with `--cache off`.
std::string cache_folder(const TrainOptions& options);

// Looks into the file cache for these options; null with `--cache off`. With `--cache` left out,
// into the default folder.
std::shared_ptr<ImageCache> look_into_cache(const TrainOptions& options);

struct StoreNeeds {
    std::uint64_t training = 0, evaluation = 0;  // bytes of kept images
    std::uint64_t source_pixels = 0;             // of all files
    bool on_device = false;                      // the training images lie there
};
StoreNeeds store_needs(const TrainOptions& options, const std::vector<Sample>& train,
                       const std::vector<Sample>& valid, bool on_device);

struct StoreChoice {
    std::string folder{};                                    // of the file cache; empty: none
    std::uint64_t training_bytes = 0, evaluation_bytes = 0;  // bounds on what is kept in memory
    std::string line{};                                      // what the user should know; empty: nothing
};
// `free`: memory, of which `--input auto` takes half at most. Throws Error(device) for `--input
// resident` on the CPU when the images need more than nine tenths of it.
StoreChoice choose_store(const TrainOptions& options, const StoreNeeds& needs, std::uint64_t free);

}  // namespace onecycle
