// Batches of 8-bit pixels, in order, made by worker threads.
//
// Step s is batch s % batches_per_epoch() of epoch s / batches_per_epoch(). Which samples it holds
// and how they are augmented is a formula of (seed, epoch, position), so a loader starts at any
// step at once and its batches are the same bytes for any number of threads and with or without its
// cache. The view of an image in another's place is drawn by the key of that other one. Of large
// images no more is used than random crops need (docs/data.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "data/image_faults.h"
#include "onecycle/dataset.h"
#include "onecycle/image.h"
#include "rules/rng.h"

namespace onecycle {

class KeptImages;

struct LoaderOptions {
    int size = 224;  // pixels, square
    int batch_size = 64;
    AugmentPolicy augment = AugmentPolicy::standard;  // of training; evaluation has none
    double crop_pct = 0.875;                          // see evaluation_view()
    // Training: shuffled each epoch, augmented, the last part batch dropped unless it is the only
    // one. With several batches per update, an epoch is cut to whole updates.
    // Evaluation: in the list's order, evaluation_view(), nothing dropped.
    bool training = true;
    int batches_per_update = 1;
    // Of several ranks, each makes the batches whose number is `rank` beyond a multiple of `ranks`.
    int rank = 0, ranks = 1;
    int shares = 1;                                // training: see SampleOrder; divides `batches_per_update`
    RandomPurpose order = RandomPurpose::shuffle;  // keys the order; a range test has its own
    std::uint64_t seed = 0;
    int threads = 1;                                   // workers; 0: next() does the work itself
    std::size_t queue_bytes = std::size_t{256} << 20;  // bound on batches made ahead (at least two)
    std::size_t cache_bytes = std::size_t{1} << 30;    // bound on decoded images in memory; 0: none
    // What views are cut from; null: the loader's own, within `decode_budget` (null: no bound).
    std::shared_ptr<KeptImages> kept{};
    std::shared_ptr<DecodeBudget> decode_budget{};
    // Takes note of images that can no longer be used and says whether to go on without them; null:
    // that is an error.
    std::shared_ptr<ImageFaults> faults{};
};

// How many batches a loader with these options holds at most.
std::size_t batches_ahead(const LoaderOptions& options);

struct Batch {
    std::int64_t step = 0;
    std::uint32_t epoch = 0;
    // Images; below batch_size only in a last part batch, or where images were left out.
    int count = 0;
    int size = 0;                          // pixels, square
    std::vector<std::uint8_t> pixels;      // [count, size, size, 3]; may be longer than count needs
    std::vector<std::int32_t> labels;      // [count], likewise
    std::vector<std::int64_t> sample_ids;  // [count], likewise: indices in the sample list
};

class Loader {
  public:
    // Throws Error(usage) for options out of range, Error(data) for an empty list.
    Loader(std::vector<Sample> samples, const LoaderOptions& options);
    ~Loader();  // stops
    Loader(const Loader&) = delete;
    Loader& operator=(const Loader&) = delete;

    std::int64_t batches_per_epoch() const noexcept;

    // Begins to make the batches of steps first .. last - 1, or this rank's of them; `first` is a
    // multiple of `ranks`. Stops what was under way; the cache
    // stays. All batches must have been given back.
    void start(std::int64_t first_step, std::int64_t last_step);

    // Gives the buffer back to the loader, which must outlive it.
    struct GiveBack {
        Loader* loader = nullptr;
        void operator()(const Batch* batch) const;
    };
    using BatchPtr = std::unique_ptr<const Batch, GiveBack>;

    // The batch of the next step; null after the last. Waits for it, and helps to make it. The
    // batch stays valid until the pointer is dropped; hold one at a time unless queue_bytes has
    // room for more. Throws UnusableImage (without LoaderOptions::faults: ImageError) that names
    // the file when one of the batch's files can no longer be read and nothing may take its place.
    // A batch of evaluation that lost all its images is passed over.
    // `stop` (may be null) is asked while it waits; null, too, when that answers anything but 0.
    BatchPtr next(const std::function<int()>& stop = {});

    // Ends the workers after the image each is at. Harmless when nothing runs.
    void stop();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace onecycle
