// The shadow memory: a byte of flags for each byte of the emulated GPU, and for each word who
// touched it in this grid. Behind checker.h and the hooks of shadow_hooks.cpp; nobody else includes
// it.
//
// All emulated memory lies in one window of addresses, so that a shadow is found by arithmetic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "device/emulated/checker.h"

namespace onecycle::emulated::shadow {

inline constexpr std::uintptr_t window = std::uintptr_t{1} << 44;
inline constexpr std::size_t window_bytes = std::size_t{1} << 36;

// Flags of a byte.
inline constexpr unsigned live = 1,  // part of an allocation, or of an array in shared memory
    initialised = 2,                 // something was written there
    readable = 4, writable = 8,      // by the operation whose piece runs
    shared = 16,                     // part of an array of a block
    own = 32;                        // may always be read and written: shared and pinned memory

void set_flags(const void* begin, std::size_t bytes, unsigned flags);
void clear_flags(const void* begin, std::size_t bytes, unsigned flags);
void copy_flags(const void* to, const void* from, std::size_t bytes, unsigned flags);
// The first byte that lacks one of these flags; null if all have them.
const void* first_without(const void* begin, std::size_t bytes, unsigned flags);
bool in_window(const void* address);

// Whether kernels may touch only what is readable and writable.
void restrict_access(bool on);

enum class Access { read, write, atomic };
// A thread of a kernel is about to touch these bytes, in code that returns to `from`. Does not
// return if it must not.
void access(const void* begin, std::size_t bytes, Access how, const void* from);

// The operand of the running piece that lies nearest, and where the address is in it; "" if none is
// near.
std::string place_in_operands(const void* address);

}  // namespace onecycle::emulated::shadow
