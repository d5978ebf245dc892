#include "device/cuda/calls.h"

#include <atomic>
#include <cstdio>
#include <mutex>
#include <string_view>

#include "onecycle/error.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

// Those that can make the host wait for the device; cudaMemcpyAsync does not, since we give it
// pinned memory.
constexpr std::string_view blocking[] = {
    "cudaDeviceSynchronize", "cudaStreamSynchronize", "cudaEventSynchronize", "cudaMalloc", "cudaFree",
    "cudaHostAlloc",         "cudaFreeHost",          "cudaMemcpy",
};

std::atomic<bool> thrown{false};

struct Counter {
    std::mutex mutex;
    std::map<std::string, std::uint64_t, std::less<>> of;
};
Counter& counter() {
    static Counter& instance = *new Counter;  // outlives every static object that calls CUDA
    return instance;
}

}  // namespace

void count_call(const char* function) {
    Counter& c = counter();
    const std::lock_guard lock(c.mutex);
    const auto at = c.of.find(std::string_view(function));
    ++(at == c.of.end() ? c.of[function] : at->second);
}

RuntimeCalls counted_calls() {
    Counter& c = counter();
    const std::lock_guard lock(c.mutex);
    RuntimeCalls calls;
    calls.of.insert(c.of.begin(), c.of.end());
    for (std::string_view name : blocking)
        if (const auto at = c.of.find(name); at != c.of.end()) calls.blocking += at->second;
    return calls;
}

void check(cudaError_t error, const char* what) {
    if (error == cudaSuccess) return;
    thrown = true;
    ONECYCLE_TRY_CUDA(cudaGetLastError);  // it is told here; the next call starts clean
    const bool memory = error == cudaErrorMemoryAllocation;
    throw Error(
        ErrorKind::device, memory ? "not enough memory" : "a CUDA call failed", what,
        std::string(cudaGetErrorString(error)) + " (" + cudaGetErrorName(error) + ")",
        memory ? "use a smaller --batch-size or --size" : "onecycle doctor tells whether the device works");
}

void make_current(int device) {
    ONECYCLE_CALL_CUDA(cudaSetDevice, device);
}

void complain(cudaError_t error, const char* what) noexcept {
    if (error != cudaSuccess && !thrown)
        std::fprintf(stderr, "warning: a CUDA call failed: %s: %s\n", what, cudaGetErrorString(error));
}

}  // namespace onecycle::ONECYCLE_CUDA
