// Runs the blocks of a kernel on the host. Each CUDA thread that waits, at a barrier or in a
// shuffle, does so on a fiber; threads that never wait follow each other on one. Blocks run in a
// shuffled order, on all host threads, each block on one of them; every second block starts its
// threads from the last.
//
// What CUDA leaves undefined is an Error(device) here: a barrier that some threads of the block do
// not reach or reach elsewhere, an exchange between lanes that name different masks or come from
// different lines, a value taken from a lane that is not there, a write beside an array in shared
// memory. checker.h knows of more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>
#include <string>

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
    std::uint32_t event = 0;  // the checker's name for what it does until it meets others again; 0: none yet
};

// What a thread of a kernel sees of its block.
struct BlockState {
    uint3 block_index;
    dim3 block_dim, grid_dim;
    std::uint32_t number = 0;                 // of the block
    std::uint32_t epoch = 0, grid_epoch = 0;  // barriers of the block and of the grid that lie behind it
};

// The CUDA thread that this host thread runs now.
inline constinit thread_local ThreadState* self = nullptr;

struct Grid {
    dim3 grid, block;
    std::size_t dynamic_shared = 0;  // bytes
    bool cooperative = false;        // sync_cooperative_grid() may be called
    const char* name = "";           // for error messages
};

// The multiprocessors of the emulated GPU, and how many blocks live on one at a time.
inline constexpr int emulated_multiprocessors = 8;
int resident_blocks(unsigned threads, std::size_t dynamic_shared);
// From now on at most so many live on one, whatever they need: as where a tool takes registers, or
// another process multiprocessors. 0: no cooperative grid fits.
void limit_resident_blocks(int most);
inline constexpr int no_limit_of_blocks = 1 << 30;

enum class Launch { good, bad_shape, too_large_to_cooperate };
Launch check_launch(const Grid& grid);

// Runs `body` once for each thread of the grid, then returns. Passes on what a kernel throws.
void run_grid(const Grid& grid, const std::function<void()>& body);

// Seeds every order that CUDA leaves open (0: the order of issue) and starts its sequence anew.
void set_schedule_seed(std::uint64_t seed);
// The seed for the next such choice, 0 if the order of issue was asked for.
std::uint64_t next_schedule_seed();

// --- called by kernels ---
using Site = std::source_location;
enum class Exchange : std::uint8_t { shuffle, vote, sync };

void sync_block(Site site);
void sync_cooperative_grid(Site site);
// Gives `bits` to the lanes of the mask. A shuffle returns those of lane `source`, a vote a bit for
// each lane whose bits are not zero; a sync orders what the lanes do to memory.
std::uint64_t exchange(Exchange kind, unsigned mask, std::uint64_t bits, int source, Site site);
void* shared_array(const void* site, const char* name, std::size_t bytes, std::size_t alignment);
void* dynamic_shared();

// --- called by what watches kernels --- Ends the grid with Error(device); the thread that runs
// goes on nowhere. For code that must not throw.
[[noreturn]] void fail_thread(const char* what, const std::string& why);
// "byte 12 of partial (128 bytes)": in or beside an array of the block that runs; "" if it is none.
std::string place_in_shared_memory(const void* address);

}  // namespace onecycle::emulated
