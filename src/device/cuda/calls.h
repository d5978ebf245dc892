// Every call of the CUDA runtime goes by here, so that a test can say what a step costs the host:
// one cudaGraphLaunch, and no call that waits. Kernels' launches count themselves (kernels/cuda.h).
#pragma once

#include "device/cuda/runtime.h"
#include "device/device.h"

namespace onecycle::ONECYCLE_CUDA {

RuntimeCalls counted_calls();

// Makes a device the calling thread's. Which one that is, each thread chooses for itself, and the
// runtime's calls act on it: every entry of a device begins with this, so that any thread may call.
void make_current(int device);

// For destructors: writes a line to stderr instead of throwing; silent after an error was thrown,
// since most calls fail after one that did.
void complain(cudaError_t error, const char* what) noexcept;

}  // namespace onecycle::ONECYCLE_CUDA

// For use in this namespace. The call and its result; the same, throwing Error(device) if it fails;
// the same, complaining.
#define ONECYCLE_TRY_CUDA(function, ...) (count_call(#function), function(__VA_ARGS__))
#define ONECYCLE_CALL_CUDA(function, ...) check(ONECYCLE_TRY_CUDA(function, __VA_ARGS__), #function)
#define ONECYCLE_CLOSE_CUDA(function, ...) complain(ONECYCLE_TRY_CUDA(function, __VA_ARGS__), #function)
