// The training images in device memory: what a training without copies reads its batches from.
#pragma once

#include <functional>
#include <vector>

#include "data/resident_images.h"
#include "device/device.h"
#include "nn/program.h"
#include "onecycle/log.h"

namespace onecycle {

class ResidentSet {
  public:
    // Plans only. `seed` keys order and views.
    ResidentSet(std::vector<Sample> samples, const ResidentOptions& options, std::uint64_t seed);

    const ResidentInput& input() const { return input_; }  // what programs must know
    std::size_t bytes() const { return input_.bytes(); }

    // The memory that programs are bound to; fill() gives it its contents.
    void allocate(Device& device);
    const DeviceMemory& memory() const { return memory_; }

    // Decodes all images, the first time that it is called. `stop` (may be null) is asked between images; not 0
    // from it ends the work and is returned. `from`: the number of the next training batch, where images that cannot
    // be used are left out from (make_resident_images()).
    int fill(const std::function<int()>& stop, const LogSink& log, std::int64_t from);
    // What is left out has changed: the next fill() decodes all again.
    void forget() { filled_ = false; }

  private:
    std::vector<Sample> samples_;
    ResidentOptions options_;
    ResidentPlan plan_;
    ResidentInput input_;
    Device* device_ = nullptr;
    DeviceMemory memory_;
    bool filled_ = false;
};

}  // namespace onecycle
