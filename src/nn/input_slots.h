// Batches that the host hands over ahead of the steps that use them: slots in device memory, each
// with pinned host memory of its own, so that a batch travels while earlier steps run. The
// programs' take_batch chooses the slot.
#pragma once

#include <cstdint>

#include "device/device.h"
#include "ops/ops.h"

namespace onecycle {

class InputSlots {
  public:
    // For batches of up to `batch` images of `image_bytes` bytes.
    InputSlots(Device& device, std::size_t image_bytes, int batch, int slots);

    const DeviceMemory& memory() const { return slots_; }  // [slots, BatchLayout::bytes]

    // Puts the batch of this number (update * accumulation + micro) into its slot; steps launched
    // from now on find it. Every step that uses the batch `slots` before it must be done. Does not
    // wait. n <= batch.
    void put(std::int64_t number, const std::uint8_t* images, const std::int32_t* labels, int n);

  private:
    Device* device_;
    std::size_t image_bytes_;
    BatchLayout layout_;
    int count_;
    SharedMemory host_;
    DeviceMemory slots_;
};

}  // namespace onecycle
