// What every kernel source includes: CUDA's words, 16-byte vectors, reductions, and the one way to
// launch. nvcc compiles the sources for the GPU, in namespace onecycle::cuda; g++ compiles the same
// sources for the emulator (ONECYCLE_EMULATED), in namespace onecycle::emulated.
//
// The rules that make this work: kernels are launched by launch(), shared memory comes from
// ONECYCLE_SHARED and ONECYCLE_DYNAMIC_SHARED, 16-bit numbers are rules/half.h's, there are no
// float atomics, and no inline assembly outside files of its own.
#pragma once

#include <cstddef>
#include <cstdint>

#include <tuple>
#include <type_traits>
#include <utility>

#include "device/cuda/runtime.h"
#include "rules/half.h"

#if defined(ONECYCLE_EMULATED)
#include "device/emulated/cuda_keywords.h"
#else
#include <cooperative_groups.h>
#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>  // header only; does nothing until a profiler is there
#define ONECYCLE_NVTX
#endif
#define ONECYCLE_SHARED(type, name, count) __shared__ type name[count]
// One array of bytes for a whole file: CUDA gives them one address and must see one type.
#define ONECYCLE_DYNAMIC_SHARED(type, name)                          \
    extern __shared__ __align__(16) unsigned char dynamic_shared_[]; \
    type* const name = reinterpret_cast<type*>(dynamic_shared_)
#endif

namespace onecycle::ONECYCLE_CUDA {

inline constexpr int warp_lanes = 32;
inline constexpr unsigned full_warp = 0xFFFFFFFFu;

#if defined(__CUDACC__)
// The grid-wide barrier of a cooperative launch.
__device__ inline void sync_grid() {
    cooperative_groups::this_grid().sync();
}
#endif

#if !defined(ONECYCLE_WATCHED)
// An aggregate of up to 16 bytes, moved by one instruction. Addresses must be aligned to its size.
template <typename Aggregate>
__device__ __forceinline__ Aggregate load_whole(const void* from) {
    return *static_cast<const Aggregate*>(from);
}
template <typename Aggregate>
__device__ __forceinline__ void store_whole(void* to, const Aggregate& value) {
    *static_cast<Aggregate*>(to) = value;
}
#endif

// 16 bytes of T, moved by one instruction. Addresses must be 16-byte aligned.
template <typename T>
struct alignas(16) Vec {
    static constexpr int size = 16 / sizeof(T);
    T v[size];
};

template <typename T>
__device__ __forceinline__ Vec<T> load_vec(const T* from) {
    return load_whole<Vec<T>>(from);
}
template <typename T>
__device__ __forceinline__ void store_vec(T* to, const Vec<T>& value) {
    store_whole(to, value);
}

#if defined(__CUDACC__) || defined(ONECYCLE_EMULATED)  // not where g++ compiles host code of the GPU's side
// Sum over the warp in a fixed order; every lane gets it. All 32 lanes must call.
template <typename T>
__device__ __forceinline__ T warp_sum(T value) {
    for (int lanes = warp_lanes / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(full_warp, value, lanes);
    return value;
}

// Sum over the block in a fixed order; every thread gets it. All threads must call; blockDim.x
// (only x is used) is a multiple of 32, at most 1024.
template <typename T>
__device__ T block_sum(T value) {
    ONECYCLE_SHARED(T, partial, warp_lanes);
    const int lane = threadIdx.x % warp_lanes, warp = threadIdx.x / warp_lanes,
              warps = blockDim.x / warp_lanes;
    value = warp_sum(value);
    __syncthreads();  // the call before may still be read
    if (lane == 0) partial[warp] = value;
    __syncthreads();
    return warp_sum(lane < warps ? partial[lane] : T(0));
}
#endif

struct LaunchShape {
    dim3 grid, block;
    std::size_t shared = 0;    // bytes of ONECYCLE_DYNAMIC_SHARED, at most 48 KiB
    bool cooperative = false;  // the kernel calls sync_grid()
};

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) {
    return (a + b - 1) / b;
}

// What a profiler shows around the host's side of a launch.
struct ProfilerRange {
#if defined(ONECYCLE_NVTX)
    explicit ProfilerRange(const char* name) {
        nvtxRangePushA(name);
    }
    ~ProfilerRange() {
        nvtxRangePop();
    }
#else
    explicit ProfilerRange(const char*) {}
#endif
    ProfilerRange(const ProfilerRange&) = delete;
    ProfilerRange& operator=(const ProfilerRange&) = delete;
};

// How many blocks of so many threads a multiprocessor holds of a kernel at once; 0: it cannot run
// one. Without ONECYCLE_DYNAMIC_SHARED.
template <typename... Parameters>
int resident_blocks(const char* name, void (*kernel)(Parameters...), int threads) {
    int blocks = 0;
    count_call("cudaOccupancyMaxActiveBlocksPerMultiprocessor");
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, 0), name);
    return blocks;
}

// Puts a kernel on a stream. `name` stands in messages, profiles and NVTX ranges. Arguments are
// copied.
template <typename... Parameters, typename... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), const LaunchShape& shape, cudaStream_t stream,
            Arguments&&... arguments) {
    count_call(shape.cooperative ? "cudaLaunchCooperativeKernel" : "cudaLaunchKernel");
#if defined(ONECYCLE_EMULATED)
    check(launch_grid(
              {shape.grid, shape.block, shape.shared, shape.cooperative, name},
              [kernel, copies = std::tuple<std::decay_t<Parameters>...>(arguments...)] {
                  std::apply(kernel, copies);
              },
              stream),
          name);
#else
    const ProfilerRange range(name);
    const auto* function = reinterpret_cast<const void*>(kernel);
    cudaLaunchAttribute attributes[1]{};
    cudaLaunchConfig_t config{};
    config.gridDim = shape.grid;
    config.blockDim = shape.block;
    config.dynamicSmemBytes = shape.shared;
    config.stream = stream;
    config.attrs = attributes;
    if (shape.cooperative) {
        attributes[0].id = cudaLaunchAttributeCooperative;
        attributes[0].val.cooperative = 1;
        config.numAttrs = 1;
    }
    std::tuple<std::decay_t<Parameters>...> copies(arguments...);
    std::apply(
        [&](auto&... copy) {
            void* pointers[] = {static_cast<void*>(&copy)...};
            check(cudaLaunchKernelExC(&config, function, pointers), name);
        },
        copies);
#endif
}

}  // namespace onecycle::ONECYCLE_CUDA
