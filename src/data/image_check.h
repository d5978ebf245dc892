// The look at every image before the first step.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "data/folder.h"
#include "onecycle/dataset.h"

namespace onecycle {

// Says on the calling thread how far a work of several threads has come.
class CheckProgress {
  public:
    CheckProgress(const std::function<void(std::int64_t, std::int64_t)>& tell, std::size_t all)
        : tell_(tell), all_(static_cast<std::int64_t>(all)) {}

    void one_more();
    void end() const {
        if (tell_) tell_(all_, all_);
    }

  private:
    const std::function<void(std::int64_t, std::int64_t)>& tell_;
    std::int64_t all_;
    std::thread::id caller_ = std::this_thread::get_id();
    std::atomic<std::int64_t> done_{0};
    std::atomic<bool> owed_{false};
};

// Notes size and contents of the images, and takes the bad ones out of the list. `budget`: of the
// memory that decoding takes. Throws Interrupted.
void check_and_measure(std::vector<Sample>& samples, const DatasetOptions& options,
                       const std::shared_ptr<DecodeBudget>& budget, CheckProgress& progress,
                       std::vector<BadImage>& bad);

// What was found out about images in shards goes into their indices, which are kept.
void note_in_indices(const Dataset& dataset, ShardReading& shards);

}  // namespace onecycle
