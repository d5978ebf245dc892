// The training images in device memory: what a training without copies reads its batches from.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "data/resident_images.h"
#include "device/communicator.h"
#include "device/device.h"
#include "nn/program.h"
#include "onecycle/log.h"

namespace onecycle {

class ResidentSet {
  public:
    // Plans only, for the rank at `place`: with several `shares` (SampleOrder) it holds those alone
    // that its batches are drawn from. `seed` keys order and views; `budget`: as ImageLimits::memory.
    ResidentSet(std::vector<Sample> samples, const KeptRule& rule, std::uint64_t seed, int shares,
                const RankPlace& place, std::shared_ptr<ImageFaults> faults,
                const std::shared_ptr<DecodeBudget>& budget);

    const ResidentInput& input() const { return input_; }  // what programs must know
    std::size_t bytes() const { return input_.bytes(); }

    // The memory that programs are bound to; fill() gives it its contents.
    void allocate(Device& device);
    const DeviceMemory& memory() const { return memory_; }

    // Gets all images, the first time that it is called. `stop` (may be null) is asked between
    // images; not 0 from it ends the work and is returned. `from`: the number of the next training
    // batch, where images that cannot be used are left out from (make_resident_images()).
    int fill(KeptImages& kept, int threads, const std::function<int()>& stop, const LogSink& log,
             std::int64_t from);
    // What is left out has changed: the next fill() gets all again.
    void forget() { filled_ = false; }

  private:
    std::vector<Sample> samples_;
    std::vector<int> share_of_;  // each sample's
    std::shared_ptr<ImageFaults> faults_;
    ResidentPlan plan_;
    ResidentInput input_;
    Device* device_ = nullptr;
    DeviceMemory memory_;
    bool filled_ = false;
};

}  // namespace onecycle
