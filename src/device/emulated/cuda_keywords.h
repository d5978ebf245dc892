// The words of CUDA C++ for g++: a kernel source that includes "cuda.h" compiles with this header
// where there is no nvcc, and runs on the emulator. Only what our kernels use is here.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "device/emulated/block.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __grid_constant__

#define threadIdx (::onecycle::emulated::self->thread_index)
#define blockIdx (::onecycle::emulated::self->block->block_index)
#define blockDim (::onecycle::emulated::self->block->block_dim)
#define gridDim (::onecycle::emulated::self->block->grid_dim)
#define warpSize 32

namespace onecycle::emulated {

inline void __syncthreads(Site site = Site::current()) {
    sync_block(site);
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, Site site = Site::current()) {
    exchange(Exchange::sync, mask, 0, self->lane, site);
}
inline void __threadfence_system() {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

// The bits of a value of up to 8 bytes, from another lane of the mask. All lanes of the mask must
// arrive.
template <typename T>
T exchange_value(unsigned mask, T value, int source, Site site) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    bits = exchange(Exchange::shuffle, mask, bits, source, site);
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, Site site = Site::current()) {
    return exchange_value(mask, value, self->lane / width * width + source % width, site);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, Site site = Site::current()) {
    const int source = self->lane ^ lane_mask;
    return exchange_value(mask, value, source / width == self->lane / width ? source : self->lane, site);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, int delta, int width = 32, Site site = Site::current()) {
    const int source = self->lane + delta;
    return exchange_value(mask, value, source / width == self->lane / width ? source : self->lane, site);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, int delta, int width = 32, Site site = Site::current()) {
    const int source = self->lane - delta;
    return exchange_value(mask, value, source >= self->lane / width * width ? source : self->lane, site);
}
inline unsigned __ballot_sync(unsigned mask, bool vote, Site site = Site::current()) {
    return static_cast<unsigned>(exchange(Exchange::vote, mask, vote, self->lane, site));
}
inline bool __any_sync(unsigned mask, bool vote, Site site = Site::current()) {
    return __ballot_sync(mask, vote, site) != 0;
}
inline bool __all_sync(unsigned mask, bool vote, Site site = Site::current()) {
    return __ballot_sync(mask, !vote, site) == 0;
}

// Integers only: sums of floats in no fixed order would make runs differ.
template <typename T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
    static_assert(std::is_integral_v<T>);
    return __atomic_fetch_add(address, value, __ATOMIC_SEQ_CST);
}
template <typename T>
T atomicMin(T* address, std::type_identity_t<T> value) {
    T old = __atomic_load_n(address, __ATOMIC_SEQ_CST);
    while (value < old &&
           !__atomic_compare_exchange_n(address, &old, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
    return old;
}

#if defined(__SANITIZE_THREAD__)
#define ONECYCLE_WATCHED
// kernels/cuda.h has these for all other builds. What counts accesses shall see one, as a GPU makes
// it: the compiler would take it apart into those of the members.
template <std::size_t bytes>
struct Bits;
template <>
struct Bits<1> {
    typedef std::uint8_t __attribute__((may_alias)) type;
};
template <>
struct Bits<2> {
    typedef std::uint16_t __attribute__((may_alias)) type;
};
template <>
struct Bits<4> {
    typedef std::uint32_t __attribute__((may_alias)) type;
};
template <>
struct Bits<8> {
    typedef std::uint64_t __attribute__((may_alias)) type;
};
template <>
struct Bits<16> {
    typedef std::uint32_t __attribute__((vector_size(16), may_alias)) type;
};
template <typename Aggregate>
Aggregate load_whole(const void* from) {
    auto bits = *static_cast<const typename Bits<sizeof(Aggregate)>::type*>(from);
    asm("" : "+m"(bits));
    Aggregate value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
template <typename Aggregate>
void store_whole(void* to, const Aggregate& value) {
    typename Bits<sizeof(Aggregate)>::type bits;
    std::memcpy(&bits, &value, sizeof value);
    asm("" : "+m"(bits));
    *static_cast<typename Bits<sizeof(Aggregate)>::type*>(to) = bits;
}
#endif

using ::expf;
using ::fmaf;
using ::fmaxf;
using ::sqrtf;
using std::pow;
using std::sqrt;

// The grid-wide barrier of a cooperative launch.
inline void sync_grid(Site site = Site::current()) {
    sync_cooperative_grid(site);
}

}  // namespace onecycle::emulated

// Shared memory by the one macro of kernels/cuda.h: from the block's arena, the same address for
// all threads.
#define ONECYCLE_SHARED(type, name, count)                                    \
    static const char name##_site = 0;                                        \
    type* const name = static_cast<type*>(::onecycle::emulated::shared_array( \
        &name##_site, #name, sizeof(type) * static_cast<std::size_t>(count), alignof(type)))
#define ONECYCLE_DYNAMIC_SHARED(type, name) \
    type* const name = static_cast<type*>(::onecycle::emulated::dynamic_shared())
