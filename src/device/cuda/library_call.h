// Calls of NVIDIA's libraries that put work on a stream.
#pragma once

#include "device/cuda/runtime.h"

namespace onecycle::cuda {

// Stands around such a call where a step may be captured. When a library uses a kernel for the
// first time it may load code or take memory, which a capture forbids its thread unless the thread
// says that it knows. (NVIDIA's own front end of cuDNN warms a plan up in just this way.)
class LibraryCall {
  public:
    LibraryCall() {
        check(cudaThreadExchangeStreamCaptureMode(&other_), "cudaThreadExchangeStreamCaptureMode");
    }
    ~LibraryCall() { cudaThreadExchangeStreamCaptureMode(&other_); }
    LibraryCall(const LibraryCall&) = delete;
    LibraryCall& operator=(const LibraryCall&) = delete;

  private:
    cudaStreamCaptureMode other_ =
        cudaStreamCaptureModeRelaxed;  // the thread's mode after this call, then before it
};

}  // namespace onecycle::cuda
