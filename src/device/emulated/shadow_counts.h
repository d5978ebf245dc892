// Where the shadow memory tells what it sees to the counter of device/kernel_counts.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "device/emulated/shadow.h"

namespace onecycle::emulated {

struct Grid;
struct ThreadState;

namespace counts {

// Whether anybody asked for counts.
inline bool on = false;

void launch_begins(const Grid& grid);
// The blocks that were alive have ended.
void blocks_ended();
// All lanes of the thread's warp have met.
void warp_met(const ThreadState& thread);
void access(const ThreadState& thread, std::uintptr_t at, std::size_t bytes, shadow::Access how,
            bool in_shared, const void* from);

}  // namespace counts

}  // namespace onecycle::emulated
