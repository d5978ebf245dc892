// Which of many plans computes a convolution fastest: some are tried, in a bounded time. Plans are
// names here; what one is and how it is timed the caller knows (cudnn_convolution.cpp).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "onecycle/error.h"
#include "ops/cuda/plan_cache.h"

namespace onecycle {

struct PlanTrials {
    // Milliseconds of plan i; may give up on one that takes three times `best`. Nothing where it
    // cannot be made. Throws Error(device) where it is made but does not run.
    std::function<std::optional<double>(std::size_t i, double best)> time;
    // Waits for what the failed plan left behind, and says whether the device still works.
    std::function<bool()> device_works;
    std::size_t most = 10;  // so many that run are timed: PyTorch's number, too
    double seconds = 3;     // after so long no further one is begun, if one has run
};

struct PlanSearch {
    std::vector<TimedPlan> timed;     // those that ran, in the order of the trials
    std::optional<std::size_t> best;  // of the plans
    std::size_t failed = 0;           // were made but did not run
    std::string first_failure;        // "engine 62: 2=4: why"
};

// The order in which plans are tried, of plans "engine 62: 2=4 13=0" in cuDNN's order, its best
// first: theirs, but of one engine only the first seven before others have had their turn. cuDNN
// suggests some forty, most of them one engine with other knobs.
std::vector<std::size_t> order_of_trials(const std::vector<std::string>& plans);

// The device does not work any more.
class DeviceLost : public Error {
  public:
    // `plan` is the plan of `convolution` that did it.
    DeviceLost(std::string plan, const std::string& convolution, const std::string& why);
    const std::string& plan() const { return plan_; }

  private:
    std::string plan_;
};

// Tries the plans in that order. A plan that fails gives way to the next. Throws DeviceLost where
// one leaves the device broken: everything after it would fail under other names.
PlanSearch search_plans(const std::string& convolution, const std::vector<std::string>& plans,
                        const PlanTrials& trials);

}  // namespace onecycle
