#include "device/emulated/block.h"

#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/context/detail/fcontext.hpp>
#include <exception>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "onecycle/error.h"
#include "onecycle/rng.h"

namespace onecycle::emulated {

namespace {

namespace context = boost::context::detail;

constexpr std::size_t stack_bytes = std::size_t{128} << 10;
constexpr std::size_t shared_bytes = std::size_t{228} << 10;  // as much as a block can have on sm_90
constexpr int cooperative_blocks = 64;                        // at most, as an occupancy limit would say

std::atomic<std::uint64_t> schedule_seed{1};

enum class Wait : std::uint8_t { none, block, warp, grid, done };

struct Thread : ThreadState {
    Wait wait = Wait::none;
    context::fcontext_t fiber = nullptr;  // where it goes on; null before its first run
    std::byte* stack = nullptr;
    unsigned mask = 0;            // of the exchange it waits for
    std::uint64_t exchanges = 0;  // done so far
};

struct Warp {
    // Two slots a lane, used in turn: a lane is at most one exchange ahead of the others.
    std::array<std::array<std::uint64_t, 32>, 2> slots{};
};

struct SharedArray {
    const void* site;
    std::byte* address;
};

struct Block : BlockState {
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    std::unique_ptr<std::byte[]> shared;
    std::size_t shared_used = 0;
    std::vector<SharedArray> arrays;
    std::size_t dynamic_bytes = 0;
};

// Stacks of finished threads, used again. One pool a host thread.
class Stacks {
  public:
    ~Stacks() {
        for (std::byte* stack : all_) munmap(stack, stack_bytes);
    }
    std::byte* take() {
        if (free_.empty()) {
            void* memory = mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
            if (memory == MAP_FAILED)
                throw Error(ErrorKind::device, "not enough memory", "emulated", "for the stacks of a block");
            all_.push_back(static_cast<std::byte*>(memory));
            free_.push_back(all_.back());
        }
        std::byte* stack = free_.back();
        free_.pop_back();
        return stack;
    }
    void give_back(std::byte* stack) { free_.push_back(stack); }

  private:
    std::vector<std::byte*> all_, free_;
};

thread_local Stacks stacks;
thread_local context::fcontext_t scheduler = nullptr;  // where a fiber that waits goes

Thread& current() {
    return static_cast<Thread&>(*self);
}
Block& block_of(const Thread& thread) {
    return static_cast<Block&>(*thread.block);
}

// Waits until the scheduler resumes this thread.
void wait_for(Wait what) {
    Thread& thread = current();
    thread.wait = what;
    scheduler = context::jump_fcontext(scheduler, nullptr).fctx;
}

struct Entry {
    const std::function<void()>* body;
    std::exception_ptr error;
};

void fiber_main(context::transfer_t from) {
    scheduler = from.fctx;
    auto* entry = static_cast<Entry*>(from.data);
    try {
        (*entry->body)();
    } catch (...) {
        entry->error = std::current_exception();
    }
    current().wait = Wait::done;
    context::jump_fcontext(scheduler, nullptr);
}

// Blocks that live at the same time: one, or all of a cooperative grid.
class Resident {
  public:
    Resident(const Grid& grid, const std::function<void()>& body) : grid_(grid), entry_{&body, nullptr} {}

    void run(std::vector<std::unique_ptr<Block>>& blocks) {
        for (;;) {
            bool progress = false, all_done = true;
            for (auto& block : blocks)
                for (Thread& thread : block->threads) {
                    if (thread.wait == Wait::none) {
                        resume(thread);
                        progress = true;
                    }
                    all_done &= thread.wait == Wait::done;
                }
            if (all_done) return;
            for (auto& block : blocks) progress |= release(*block);
            progress |= release_grid(blocks);
            if (!progress) stuck(blocks);
        }
    }

  private:
    void resume(Thread& thread) {
        self = &thread;
        if (!thread.fiber) {
            thread.stack = stacks.take();
            thread.fiber = context::make_fcontext(thread.stack + stack_bytes, stack_bytes, fiber_main);
        }
        thread.fiber = context::jump_fcontext(thread.fiber, &entry_).fctx;
        if (thread.wait == Wait::done) {
            stacks.give_back(thread.stack);
            if (entry_.error) std::rethrow_exception(entry_.error);
        }
    }

    // Lets go on whoever waits for nobody any more.
    static bool release(Block& block) {
        bool released = false;
        const auto all = [&](std::size_t begin, std::size_t end, auto arrived) {
            return std::all_of(block.threads.begin() + static_cast<std::ptrdiff_t>(begin),
                               block.threads.begin() + static_cast<std::ptrdiff_t>(end), arrived);
        };
        for (std::size_t begin = 0; begin < block.threads.size(); begin += 32) {
            const std::size_t end = std::min(begin + 32, block.threads.size());
            for (std::size_t i = begin; i < end; ++i) {
                const Thread& first = block.threads[i];
                if (first.wait != Wait::warp) continue;
                const auto in_mask = [&](const Thread& t) { return (first.mask >> t.lane & 1u) != 0; };
                const bool complete = all(begin, end, [&](const Thread& t) {
                    return !in_mask(t) || (t.wait == Wait::warp && t.mask == first.mask);
                });
                if (!complete) continue;
                const unsigned mask = first.mask;
                for (std::size_t j = begin; j < end; ++j)
                    if (mask >> block.threads[j].lane & 1u) block.threads[j].wait = Wait::none;
                released = true;
            }
        }
        const auto at_barrier = [](const Thread& t) { return t.wait == Wait::block || t.wait == Wait::done; };
        if (all(0, block.threads.size(), at_barrier))
            for (Thread& t : block.threads)
                if (t.wait == Wait::block) {
                    t.wait = Wait::none;
                    released = true;
                }
        return released;
    }

    static bool release_grid(std::vector<std::unique_ptr<Block>>& blocks) {
        for (auto& block : blocks)
            for (Thread& t : block->threads)
                if (t.wait != Wait::grid) return false;
        for (auto& block : blocks)
            for (Thread& t : block->threads) t.wait = Wait::none;
        return true;
    }

    [[noreturn]] void stuck(const std::vector<std::unique_ptr<Block>>& blocks) const {
        for (const auto& block : blocks)
            for (const Thread& t : block->threads) {
                if (t.wait == Wait::done) continue;
                const char* where = t.wait == Wait::block  ? "a barrier"
                                    : t.wait == Wait::warp ? "a warp exchange"
                                                           : "a grid barrier";
                throw Error(ErrorKind::device, "threads wait for ever", grid_.name,
                            "thread " + std::to_string(t.linear) + " of block " +
                                std::to_string(t.block->block_index.x) + " waits at " + where +
                                " that others do not reach");
            }
        std::terminate();
    }

    const Grid& grid_;
    Entry entry_;
};

std::unique_ptr<Block> make_block(const Grid& grid, std::size_t index) {
    auto block = std::make_unique<Block>();
    const auto i = static_cast<unsigned>(index);
    block->block_index = {i % grid.grid.x, i / grid.grid.x % grid.grid.y, i / grid.grid.x / grid.grid.y};
    block->block_dim = grid.block;
    block->grid_dim = grid.grid;
    block->dynamic_bytes = grid.dynamic_shared;
    const unsigned threads = grid.block.x * grid.block.y * grid.block.z;
    block->threads.resize(threads);
    block->warps.resize((threads + 31) / 32);
    for (unsigned t = 0; t < threads; ++t) {
        Thread& thread = block->threads[t];
        thread.thread_index = {t % grid.block.x, t / grid.block.x % grid.block.y,
                               t / grid.block.x / grid.block.y};
        thread.linear = static_cast<int>(t);
        thread.lane = static_cast<int>(t % 32);
        thread.warp = static_cast<int>(t / 32);
        thread.block = block.get();
    }
    return block;
}

std::vector<std::size_t> block_order(std::size_t blocks) {
    std::vector<std::size_t> order(blocks);
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (const std::uint64_t seed = schedule_seed)
        for (std::size_t i = 0; i < blocks; ++i)
            order[i] = permuted_index(i, blocks, seed, RandomPurpose::shuffle, 0);
    return order;
}

}  // namespace

void set_schedule_seed(std::uint64_t seed) {
    schedule_seed = seed;
}

void run_grid(const Grid& grid, const std::function<void()>& body) {
    const unsigned threads = grid.block.x * grid.block.y * grid.block.z;
    const std::size_t blocks = std::size_t{grid.grid.x} * grid.grid.y * grid.grid.z;
    if (threads == 0 || threads > 1024 || blocks == 0 || grid.dynamic_shared > shared_bytes)
        throw Error(ErrorKind::device, "cannot launch", grid.name,
                    std::to_string(blocks) + " blocks of " + std::to_string(threads) + " threads");
    if (grid.cooperative) {
        if (blocks > cooperative_blocks)
            throw Error(ErrorKind::device, "cannot launch", grid.name, "a cooperative grid does not fit");
        std::vector<std::unique_ptr<Block>> all;
        for (std::size_t b : block_order(blocks)) all.push_back(make_block(grid, b));
        Resident(grid, body).run(all);
        self = nullptr;
        return;
    }
    const std::vector<std::size_t> order = block_order(blocks);
    std::exception_ptr error;
    std::atomic<bool> failed{false};
#pragma omp parallel for schedule(dynamic) if (blocks > 1)
    for (std::size_t i = 0; i < blocks; ++i) {
        if (failed) continue;
        try {
            std::vector<std::unique_ptr<Block>> one;
            one.push_back(make_block(grid, order[i]));
            Resident(grid, body).run(one);
        } catch (...) {
            if (!failed.exchange(true)) error = std::current_exception();
        }
        self = nullptr;
    }
    if (error) std::rethrow_exception(error);
}

void sync_block() {
    wait_for(Wait::block);
}

void sync_cooperative_grid() {
    wait_for(Wait::grid);
}

std::uint64_t exchange(unsigned mask, std::uint64_t bits, int source) {
    Thread& thread = current();
    if (!(mask >> thread.lane & 1u))
        throw Error(ErrorKind::device, "bad warp exchange", "emulated", "a lane is not in its own mask");
    auto& slots = block_of(thread).warps[static_cast<std::size_t>(thread.warp)].slots[thread.exchanges++ % 2];
    slots[static_cast<std::size_t>(thread.lane)] = bits;
    thread.mask = mask;
    wait_for(Wait::warp);
    return slots[static_cast<std::size_t>(source)];
}

unsigned ballot(unsigned mask, bool vote) {
    unsigned votes = 0;
    Thread& thread = current();
    auto& warp = block_of(thread).warps[static_cast<std::size_t>(thread.warp)];
    const std::size_t slot = thread.exchanges % 2;
    exchange(mask, vote ? 1 : 0, thread.lane);
    for (unsigned lane = 0; lane < 32; ++lane)
        if ((mask >> lane & 1u) && warp.slots[slot][lane]) votes |= 1u << lane;
    return votes;
}

namespace {

// Where the block's static arrays begin: behind the dynamic one.
std::size_t static_begin(const Block& block) {
    return (block.dynamic_bytes + 15) / 16 * 16;
}

void reserve_shared(Block& block) {
    if (block.shared) return;
    block.shared.reset(new std::byte[shared_bytes]);
    block.shared_used = static_begin(block);
    std::memset(block.shared.get(), 0xFF, block.shared_used);  // floats of these bits are NaN
}

}  // namespace

void* shared_array(const void* site, std::size_t bytes, std::size_t alignment) {
    Block& block = block_of(current());
    for (const SharedArray& array : block.arrays)
        if (array.site == site) return array.address;
    reserve_shared(block);
    constexpr std::size_t redzone = 16;
    const std::size_t at = (block.shared_used + redzone + alignment - 1) / alignment * alignment;
    if (at + bytes > shared_bytes)
        throw Error(ErrorKind::device, "too much shared memory", "emulated",
                    std::to_string(at + bytes) + " bytes");
    std::memset(block.shared.get() + block.shared_used, 0xFF, at + bytes - block.shared_used);
    block.shared_used = at + bytes;
    block.arrays.push_back({site, block.shared.get() + at});
    return block.arrays.back().address;
}

void* dynamic_shared() {
    Block& block = block_of(current());
    reserve_shared(block);
    return block.shared.get();
}

}  // namespace onecycle::emulated
