// CUDA's runtime: NVIDIA's, or the emulated one where ONECYCLE_EMULATED is defined. Sources that
// include this header are compiled for each of the two, in namespace onecycle::cuda and
// onecycle::emulated; both live in one binary.
#pragma once

#if defined(ONECYCLE_EMULATED)
#include "device/emulated/runtime.h"
#define ONECYCLE_CUDA emulated
#else
#include <cuda_runtime.h>
#define ONECYCLE_CUDA cuda
#endif

namespace onecycle::ONECYCLE_CUDA {

// Throws Error(device) naming what failed.
void check(cudaError_t error, const char* what);
// Notes a call of the runtime (device/cuda/calls.h).
void count_call(const char* function);

}  // namespace onecycle::ONECYCLE_CUDA
