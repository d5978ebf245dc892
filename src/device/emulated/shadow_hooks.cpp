// Kernels are compiled with -fsanitize=thread, which puts a call before every access to memory.
// These are the functions that it calls; the sanitizer's own library is not linked.
#include <cstddef>

#include "device/emulated/shadow.h"

namespace {

using onecycle::emulated::shadow::access;
using onecycle::emulated::shadow::Access;

}  // namespace

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

#define ONECYCLE_PLAIN(name, bytes)                                    \
    void __tsan_##name##read##bytes(void* at) {                        \
        access(at, bytes, Access::read, __builtin_return_address(0));  \
    }                                                                  \
    void __tsan_##name##write##bytes(void* at) {                       \
        access(at, bytes, Access::write, __builtin_return_address(0)); \
    }
#define ONECYCLE_PLAIN_AND_UNALIGNED(bytes) \
    ONECYCLE_PLAIN(, bytes)                 \
    ONECYCLE_PLAIN(unaligned_, bytes)
ONECYCLE_PLAIN(, 1)
ONECYCLE_PLAIN_AND_UNALIGNED(2)
ONECYCLE_PLAIN_AND_UNALIGNED(4)
ONECYCLE_PLAIN_AND_UNALIGNED(8)
ONECYCLE_PLAIN_AND_UNALIGNED(16)

void __tsan_read_range(void* at, std::size_t bytes) {
    access(at, bytes, Access::read, __builtin_return_address(0));
}
void __tsan_write_range(void* at, std::size_t bytes) {
    access(at, bytes, Access::write, __builtin_return_address(0));
}

// Atomics do their work here. The order of memory that they ask for is not modelled: they order
// nothing.
#define ONECYCLE_ATOMIC_FETCH(bits, what)                                                                    \
    std::uint##bits##_t __tsan_atomic##bits##_fetch_##what(volatile std::uint##bits##_t* at,                 \
                                                           std::uint##bits##_t value, int) {                 \
        access(const_cast<std::uint##bits##_t*>(at), bits / 8, Access::atomic, __builtin_return_address(0)); \
        return __atomic_fetch_##what(at, value, __ATOMIC_SEQ_CST);                                           \
    }
#define ONECYCLE_ATOMICS(bits)                                                                               \
    ONECYCLE_ATOMIC_FETCH(bits, add)                                                                         \
    ONECYCLE_ATOMIC_FETCH(bits, sub)                                                                         \
    ONECYCLE_ATOMIC_FETCH(bits, and)                                                                         \
    ONECYCLE_ATOMIC_FETCH(bits, or)                                                                          \
    ONECYCLE_ATOMIC_FETCH(bits, xor)                                                                         \
    ONECYCLE_ATOMIC_FETCH(bits, nand)                                                                        \
    std::uint##bits##_t __tsan_atomic##bits##_load(const volatile std::uint##bits##_t* at, int) {            \
        access(const_cast<const std::uint##bits##_t*>(at), bits / 8, Access::atomic,                         \
               __builtin_return_address(0));                                                                 \
        return __atomic_load_n(at, __ATOMIC_SEQ_CST);                                                        \
    }                                                                                                        \
    void __tsan_atomic##bits##_store(volatile std::uint##bits##_t* at, std::uint##bits##_t value, int) {     \
        access(const_cast<std::uint##bits##_t*>(at), bits / 8, Access::atomic, __builtin_return_address(0)); \
        __atomic_store_n(at, value, __ATOMIC_SEQ_CST);                                                       \
    }                                                                                                        \
    std::uint##bits##_t __tsan_atomic##bits##_exchange(volatile std::uint##bits##_t* at,                     \
                                                       std::uint##bits##_t value, int) {                     \
        access(const_cast<std::uint##bits##_t*>(at), bits / 8, Access::atomic, __builtin_return_address(0)); \
        return __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST);                                             \
    }                                                                                                        \
    bool __tsan_atomic##bits##_compare_exchange_strong(volatile std::uint##bits##_t* at,                     \
                                                       std::uint##bits##_t* expected,                        \
                                                       std::uint##bits##_t value, int, int) {                \
        access(const_cast<std::uint##bits##_t*>(at), bits / 8, Access::atomic, __builtin_return_address(0)); \
        return __atomic_compare_exchange_n(at, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);  \
    }                                                                                                        \
    bool __tsan_atomic##bits##_compare_exchange_weak(volatile std::uint##bits##_t* at,                       \
                                                     std::uint##bits##_t* expected,                          \
                                                     std::uint##bits##_t value, int, int) {                  \
        access(const_cast<std::uint##bits##_t*>(at), bits / 8, Access::atomic, __builtin_return_address(0)); \
        return __atomic_compare_exchange_n(at, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);  \
    }
ONECYCLE_ATOMICS(8)
ONECYCLE_ATOMICS(16)
ONECYCLE_ATOMICS(32)
ONECYCLE_ATOMICS(64)

void __tsan_atomic_thread_fence(int) {}
void __tsan_atomic_signal_fence(int) {}

}  // extern "C"
