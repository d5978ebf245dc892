// Copies that leave for the host on a stream of their own, beside the launches of the main one.
#pragma once

#include "device/cuda/handles.h"

namespace onecycle::ONECYCLE_CUDA {

// First a copy within the device, in the main stream: what runs there next may change the original.
// From that copy to pinned memory on the side stream.
class CudaSideCopy final : public SideCopy {
  public:
    CudaSideCopy(Device& device, int index, cudaStream_t main, int priority,
                 const std::vector<Piece>& pieces);
    ~CudaSideCopy() override;

    void begin() override;
    void wait() override;
    const std::byte* piece(std::size_t index) const override { return on_host_ + offsets_[index]; }

  private:
    int index_;
    cudaStream_t main_;
    std::vector<Piece> pieces_;
    std::vector<std::size_t> offsets_;  // of the pieces in both copies
    DeviceMemory on_device_;
    std::byte* on_host_ = nullptr;
    StreamHandle side_;
    Event taken_, arrived_;
};

}  // namespace onecycle::ONECYCLE_CUDA
