// A CUDA stream as the layers above see it.
#pragma once

#include "device/cuda/runtime.h"
#include "device/device.h"

namespace onecycle::ONECYCLE_CUDA {

class CudaStream final : public Stream {
  public:
    CudaStream(Device& device, cudaStream_t handle) : Stream(device), handle_(handle) {}
    cudaStream_t handle() const { return handle_; }

  private:
    cudaStream_t handle_;
};

inline cudaStream_t handle(Stream& stream) {
    return static_cast<CudaStream&>(stream).handle();
}

}  // namespace onecycle::ONECYCLE_CUDA
