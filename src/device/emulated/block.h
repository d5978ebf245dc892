// Runs the blocks of a kernel on the host. Each CUDA thread is a fiber, so that a barrier or a shuffle can
// wait for the others; a thread that never waits costs one switch. Blocks run in a shuffled order, on all
// host threads, each block on one of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

namespace onecycle::emulated {

struct uint3 {
    unsigned x = 0, y = 0, z = 0;
};
struct dim3 {
    unsigned x = 1, y = 1, z = 1;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

struct BlockState;

struct ThreadState {
    uint3 thread_index;
    int linear = 0, lane = 0, warp = 0;
    BlockState* block = nullptr;
};

// What a thread of a kernel sees of its block.
struct BlockState {
    uint3 block_index;
    dim3 block_dim, grid_dim;
};

// The CUDA thread that this host thread runs now.
inline thread_local ThreadState* self = nullptr;

struct Grid {
    dim3 grid, block;
    std::size_t dynamic_shared = 0;  // bytes
    bool cooperative = false;        // sync_cooperative_grid() may be called
    const char* name = "";           // for error messages
};

// Runs `body` once for each thread of the grid, then returns. Throws Error(device) when threads wait for ever:
// a barrier or a shuffle that some threads of the block or the mask never reach.
void run_grid(const Grid& grid, const std::function<void()>& body);

// Seeds the order of blocks; 0: in order.
void set_schedule_seed(std::uint64_t seed);

// --- called by kernels ---
void sync_block();
void sync_cooperative_grid();
// Gives `bits` to the lanes of the mask and takes those of lane `source`.
std::uint64_t exchange(unsigned mask, std::uint64_t bits, int source);
unsigned ballot(unsigned mask, bool vote);
void* shared_array(const void* site, std::size_t bytes, std::size_t alignment);
void* dynamic_shared();

}  // namespace onecycle::emulated
