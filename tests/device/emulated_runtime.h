// What the tests of the emulated runtime share: kernels, and a device with two streams, two events
// and some memory.
#pragma once

#include <gtest/gtest.h>

#include <stdexcept>

#include "device/emulated/memory.h"
#include "kernels/cuda.h"

namespace onecycle::emulated {

__global__ inline void add_kernel(int* to, int n, int value) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) to[i] += value;
}
__global__ inline void double_kernel(int* to) {
    *to *= 2;
}
__global__ inline void throw_kernel() {
    throw std::runtime_error("the kernel's own words");
}
__global__ inline void cooperative_kernel() {
    sync_grid();
}

inline constexpr int n = 100;
inline constexpr std::size_t bytes = n * sizeof(int);

class EmulatedRuntime : public testing::Test {
  protected:
    void SetUp() override {
        cudaDeviceReset();
        cudaGetLastError();
        set_schedule_seed(1);
        for (cudaStream_t* s : {&a, &b})
            ASSERT_EQ(cudaStreamCreateWithPriority(s, cudaStreamNonBlocking, 0), cudaSuccess);
        for (cudaEvent_t* e : {&event, &event2})
            ASSERT_EQ(cudaEventCreateWithFlags(e, cudaEventDisableTiming), cudaSuccess);
        ASSERT_EQ(cudaMalloc(&memory, bytes), cudaSuccess);
        ASSERT_EQ(cudaMemsetAsync(memory, 0, bytes, a), cudaSuccess);
        ASSERT_EQ(cudaStreamSynchronize(a), cudaSuccess);
        ASSERT_EQ(cudaHostAlloc(&host, bytes, 0), cudaSuccess);
        pinned = static_cast<int*>(host);
        pinned[0] = -1;
    }
    void TearDown() override { cudaDeviceReset(); }

    cudaError_t add(int value, cudaStream_t s) {
        return launch_grid(
            {1, 128, 0, false, "add"}, [to = ints(), value] { add_kernel(to, n, value); }, s);
    }
    cudaError_t twice(cudaStream_t s) {
        return launch_grid(
            {1, 1, 0, false, "twice"}, [to = ints()] { double_kernel(to); }, s);
    }
    cudaError_t read(cudaStream_t s) {
        return cudaMemcpyAsync(pinned, memory, bytes, cudaMemcpyDeviceToHost, s);
    }
    int value_on_device() {
        int value = -1;
        EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
        EXPECT_EQ(cudaMemcpyAsync(&value, memory, sizeof value, cudaMemcpyDeviceToHost, a), cudaSuccess);
        return value;
    }
    int* ints() const { return static_cast<int*>(memory); }

    cudaStream_t a = nullptr, b = nullptr;
    cudaEvent_t event = nullptr, event2 = nullptr;
    void *memory = nullptr, *host = nullptr;
    int* pinned = nullptr;
};

}  // namespace onecycle::emulated
