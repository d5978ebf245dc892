#include "device/emulated/block.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/emulated/checker.h"
#include "device/emulated/fiber.h"
#include "device/emulated/memory.h"
#include "device/emulated/shared_memory.h"
#include "onecycle/error.h"
#include "rules/rng.h"

namespace onecycle::emulated {

namespace {

constexpr unsigned lanes_of_warp = 32;

std::atomic<std::uint64_t> schedule_seed{1}, choices{0};
std::atomic<int> resident_limit{no_limit_of_blocks};

enum class Wait : std::uint8_t { fresh, running, block, exchange, grid, ended };

struct Thread : ThreadState {
    Wait wait = Wait::fresh;
    Exchange kind{};
    Fiber* fiber = nullptr;
    Site site;                // where it waits
    unsigned mask = 0;        // of the exchange
    int source = 0;           // of the shuffle
    std::uint64_t bits = 0;   // given
    std::uint64_t taken = 0;  // got
};

struct Warp {
    unsigned exist = 0, waiting = 0, ended = 0;  // bits of lanes
};

struct Block : BlockState {
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    SharedMemory shared;
    std::size_t at_barrier = 0;
    Site barrier;  // where they wait

    void begin(const Grid& grid, std::size_t index) {
        if (threads.empty() || block_dim.x != grid.block.x || block_dim.y != grid.block.y ||
            block_dim.z != grid.block.z)
            make_threads(grid.block);
        const auto i = static_cast<unsigned>(index);
        block_index = {i % grid.grid.x, i / grid.grid.x % grid.grid.y, i / grid.grid.x / grid.grid.y};
        grid_dim = grid.grid;
        number = i;
        epoch = grid_epoch = 0;
        shared.reset(grid.dynamic_shared);
        at_barrier = 0;
        for (Thread& t : threads) {
            t.wait = Wait::fresh;
            t.event = 0;
        }
        for (Warp& w : warps) w.waiting = w.ended = 0;
    }

  private:
    void make_threads(dim3 dim) {
        block_dim = dim;
        threads.assign(std::size_t{dim.x} * dim.y * dim.z, {});
        warps.assign((threads.size() + lanes_of_warp - 1) / lanes_of_warp, {});
        for (unsigned i = 0; i < threads.size(); ++i) {
            Thread& t = threads[i];
            t.thread_index = {i % dim.x, i / dim.x % dim.y, i / dim.x / dim.y};
            t.linear = static_cast<int>(i);
            t.lane = static_cast<int>(i % lanes_of_warp);
            t.warp = static_cast<int>(i / lanes_of_warp);
            t.block = this;
            warps[i / lanes_of_warp].exist |= 1u << t.lane;
        }
    }
};

bool same(const Site& a, const Site& b) {
    return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

std::string text(const Site& site) {
    const std::string file = site.file_name();
    return fmt::format("{}:{}", file.substr(file.find_last_of('/') + 1), site.line());
}

std::string text(const Thread& t) {
    const char* where = t.wait == Wait::block      ? "waits at the barrier in "
                        : t.wait == Wait::grid     ? "waits at the grid barrier in "
                        : t.wait == Wait::exchange ? "waits in the exchange in "
                                                   : "has ended";
    std::string s = fmt::format("thread {} of block {} {}", t.linear, t.block->block_index.x, where);
    if (t.wait != Wait::ended) s += text(t.site);
    if (t.wait == Wait::exchange) s += fmt::format(" with mask {:#x}", t.mask);
    return s;
}

// Runs blocks that live at the same time: one, or all of a cooperative grid. One a host thread.
class Runner {
  public:
    Runner() { handle_faults_on_this_thread(); }

    void run(const Grid& grid, const std::function<void()>& body, std::span<const std::size_t> indices,
             bool from_the_last) {
        grid_ = &grid;
        body_ = &body;
        from_the_last_ = from_the_last;
        while (blocks_.size() < indices.size()) blocks_.push_back(std::make_unique<Block>());
        blocks_.resize(indices.size());
        for (std::size_t i = 0; i < indices.size(); ++i) blocks_[i]->begin(grid, indices[i]);
        checker::blocks_begin();
        per_block_ = blocks_[0]->threads.size();
        total_ = per_block_ * blocks_.size();
        started_ = ended_ = at_grid_barrier_ = 0;
        error_ = nullptr;

        Fiber::switch_to(host_, next());  // comes back when no thread can go on
        self = nullptr;
        if (error_ || ended_ < total_) give_up();
        for (const auto& block : blocks_)
            if (const std::string array = block->shared.damaged(); !array.empty())
                throw Error(ErrorKind::device, "a write outside an array in shared memory", grid.name,
                            "beside " + array);
    }

    static void fiber_main();  // of every fiber

    static Thread& thread() { return static_cast<Thread&>(*self); }
    static Block& block_of(const Thread& t) { return static_cast<Block&>(*t.block); }

    void sync_block(const Site& site) {
        Thread& t = thread();
        Block& block = block_of(t);
        if (block.at_barrier == 0) {
            block.barrier = site;
        } else if (!same(site, block.barrier)) {
            t.wait = Wait::block;
            t.site = site;
            fail(t, [&](const Thread& u) { return &u != &t && u.wait == Wait::block; });
        }
        if (++block.at_barrier < block.threads.size()) return wait(t, Wait::block, site);
        block.at_barrier = 0;
        ++block.epoch;
        for (Thread& u : block.threads) {
            u.event = 0;
            release(u, Wait::block);
        }
    }

    void sync_grid(const Site& site) {
        if (!grid_->cooperative)
            throw Error(ErrorKind::device, "no grid barrier", grid_->name, "the launch is not cooperative");
        if (++at_grid_barrier_ < total_) return wait(thread(), Wait::grid, site);
        at_grid_barrier_ = 0;
        for (const auto& block : blocks_) {
            ++block->epoch;
            ++block->grid_epoch;
            for (Thread& u : block->threads) {
                u.event = 0;
                release(u, Wait::grid);
            }
        }
    }

    std::uint64_t exchange(Exchange kind, unsigned mask, std::uint64_t bits, int source, const Site& site) {
        Thread& t = thread();
        Block& block = block_of(t);
        Warp& warp = block.warps[static_cast<std::size_t>(t.warp)];
        const unsigned named = mask & warp.exist, own = 1u << t.lane;
        t.kind = kind;
        t.mask = mask;
        t.bits = bits;
        t.source = source;
        t.site = site;
        if (!(named & own)) bad_exchange(t, "it is not in its own mask");
        if (named & warp.ended) bad_exchange(t, "a lane of the mask has ended");
        if (!(named >> source & 1u)) bad_exchange(t, fmt::format("lane {} is not in the mask", source));
        warp.waiting |= own;
        if ((warp.waiting & named) != named) {
            wait(t, Wait::exchange, site);
            return t.taken;
        }
        Thread* const lanes = &block.threads[static_cast<std::size_t>(t.warp) * lanes_of_warp];
        const auto for_named = [&](auto&& f) {
            for (unsigned rest = named; rest; rest &= rest - 1) f(lanes[__builtin_ctz(rest)]);
        };
        unsigned votes = 0;
        for_named([&](const Thread& u) {
            if (u.mask != mask || u.kind != kind || !same(u.site, site)) {
                t.wait = Wait::exchange;
                fail(t, [&](const Thread& v) { return &v == &u; });
            }
            if (u.bits) votes |= 1u << u.lane;
        });
        for_named([&](Thread& u) { u.taken = kind == Exchange::shuffle ? lanes[u.source].bits : votes; });
        warp.waiting &= ~named;
        checker::lanes_met(*lanes, named);
        if (kind == Exchange::sync) {
            checker::warp_synchronized(*lanes, named);
            for_named([](Thread& u) { u.event = 0; });
        }
        for_named([&](Thread& u) { release(u, Wait::exchange); });
        return t.taken;
    }

    Block& block() { return block_of(thread()); }

    // Leaves the thread where it is, for ever.
    [[noreturn]] void fail_thread(const char* what, const std::string& why) {
        error_ = std::make_exception_ptr(Error(ErrorKind::device, what, grid_->name, why));
        Fiber::switch_to(*thread().fiber, host_);
        std::terminate();
    }

  private:
    // Whoever runs next: a thread that waits no more, one that is still to begin, or the host if
    // there is neither.
    Fiber& next() {
        if (first_ready_ < ready_.size()) {
            self = ready_[first_ready_++];
            if (first_ready_ == ready_.size()) ready_.resize(first_ready_ = 0);
            return *thread().fiber;
        }
        if (started_ == total_) return host_;
        if (parked_.empty()) {
            fibers_.push_back(std::make_unique<Fiber>(fiber_main));
            return *fibers_.back();
        }
        Fiber& fiber = *parked_.back();
        parked_.pop_back();
        return fiber;
    }

    // Begins threads one after the other, as long as none that has begun can go on.
    void run_fresh_threads() {
        while (first_ready_ == ready_.size() && started_ < total_ && !error_) {
            const std::size_t i = started_++;
            const std::size_t within = from_the_last_ ? per_block_ - 1 - i % per_block_ : i % per_block_;
            Thread& t = blocks_[i / per_block_]->threads[within];
            self = &t;
            t.fiber = &Fiber::current();
            t.wait = Wait::running;
            try {
                (*body_)();
            } catch (...) {
                error_ = std::current_exception();
            }
            t.wait = Wait::ended;
            block_of(t).warps[static_cast<std::size_t>(t.warp)].ended |= 1u << t.lane;
            ++ended_;
        }
    }

    // Leaves a fiber that has no thread to begin; it comes back when it is needed again.
    void park() {
        Fiber& to = error_ ? host_ : next();
        parked_.push_back(&Fiber::current());
        Fiber::switch_to(*parked_.back(), to);
    }

    void wait(Thread& t, Wait what, const Site& site) {
        t.wait = what;
        t.site = site;
        Fiber::switch_to(*t.fiber, next());
    }

    void release(Thread& t, Wait from) {
        if (t.wait != from) return;
        t.wait = Wait::running;
        ready_.push_back(&t);
    }

    // Ends the grid: what its threads were doing is forgotten.
    [[noreturn]] void give_up() {
        std::exception_ptr error = error_;
        if (!error) try {
                stuck();
            } catch (...) {
                error = std::current_exception();
            }
        ready_.clear();
        first_ready_ = 0;
        for (const auto& block : blocks_)
            for (Thread& t : block->threads)
                if (t.wait != Wait::fresh && t.wait != Wait::ended) {
                    t.fiber->restart();
                    parked_.push_back(t.fiber);
                }
        blocks_.clear();
        std::rethrow_exception(error);
    }

    [[noreturn]] void stuck() {
        for (const auto& block : blocks_)
            for (const Thread& t : block->threads)
                if (t.wait != Wait::ended)
                    fail(t, [&](const Thread& u) {
                        return u.wait != t.wait || (t.wait != Wait::ended && !same(u.site, t.site));
                    });
        std::terminate();
    }

    // Says where a thread waits, and where another one is, the first for which `other` holds.
    template <typename F>
    [[noreturn]] void fail(const Thread& t, F other) {
        std::string why = text(t);
        const auto add_other = [&] {
            for (const auto& block : blocks_)
                for (const Thread& u : block->threads)
                    if (u.wait != Wait::fresh && other(u)) {
                        why += ", " + text(u);
                        return;
                    }
        };
        add_other();
        throw Error(ErrorKind::device, "threads wait for each other for ever", grid_->name, why);
    }

    [[noreturn]] void bad_exchange(Thread& t, const std::string& why) {
        t.wait = Wait::exchange;
        throw Error(ErrorKind::device, "bad exchange between the lanes of a warp", grid_->name,
                    text(t) + ": " + why);
    }

    const Grid* grid_ = nullptr;
    const std::function<void()>* body_ = nullptr;
    bool from_the_last_ = false;
    std::vector<std::unique_ptr<Block>> blocks_;
    std::size_t per_block_ = 0, total_ = 0;                      // threads
    std::size_t started_ = 0, ended_ = 0, at_grid_barrier_ = 0;  // threads
    std::vector<Thread*> ready_;                                 // a queue: they wait no more
    std::size_t first_ready_ = 0;
    std::exception_ptr error_;
    Fiber host_;
    std::vector<std::unique_ptr<Fiber>> fibers_;
    std::vector<Fiber*> parked_;  // run no thread
};

Runner& runner() {
    thread_local Runner instance;
    return instance;
}

void Runner::fiber_main() {
    for (Runner& r = runner();;) {
        r.run_fresh_threads();
        r.park();
    }
}

}  // namespace

void set_schedule_seed(std::uint64_t seed) {
    schedule_seed = seed;
    choices = 0;
}

std::uint64_t next_schedule_seed() {
    const std::uint64_t seed = schedule_seed;
    return seed ? seed + (++choices << 20) : 0;
}

void limit_resident_blocks(int most) {
    resident_limit = most;
}

int resident_blocks(unsigned threads, std::size_t dynamic_shared) {
    constexpr unsigned most_threads = 2048, most_blocks = 32;
    constexpr std::size_t shared = std::size_t{228} << 10,
                          reserved = 1024;  // bytes, of all and for each block
    return static_cast<int>(std::min<std::size_t>({most_threads / std::max(threads, 1u), most_blocks,
                                                   shared / (dynamic_shared + reserved),
                                                   static_cast<std::size_t>(resident_limit.load())}));
}

Launch check_launch(const Grid& g) {
    const std::size_t threads = std::size_t{g.block.x} * g.block.y * g.block.z,
                      blocks = std::size_t{g.grid.x} * g.grid.y * g.grid.z;
    if (threads == 0 || threads > 1024 || g.block.z > 64 || blocks == 0 || g.grid.x > 0x7FFFFFFFu ||
        g.grid.y > 0xFFFFu || g.grid.z > 0xFFFFu || g.dynamic_shared > SharedMemory::most_bytes)
        return Launch::bad_shape;
    const int resident =
        emulated_multiprocessors * resident_blocks(static_cast<unsigned>(threads), g.dynamic_shared);
    return g.cooperative && blocks > static_cast<std::size_t>(resident) ? Launch::too_large_to_cooperate
                                                                        : Launch::good;
}

void run_grid(const Grid& grid, const std::function<void()>& body) {
    const std::size_t threads = std::size_t{grid.block.x} * grid.block.y * grid.block.z,
                      blocks = std::size_t{grid.grid.x} * grid.grid.y * grid.grid.z;
    if (const Launch launch = check_launch(grid); launch != Launch::good)
        throw Error(
            ErrorKind::device, "cannot launch", grid.name,
            fmt::format("{} blocks of {} threads with {} bytes of shared memory{}", blocks, threads,
                        grid.dynamic_shared, launch == Launch::bad_shape ? "" : " do not all fit at once"));
    checker::grid_begins(grid);
    const std::uint64_t seed = next_schedule_seed();
    const auto shuffled = [&](std::size_t i) {
        return seed ? permuted_index(i, blocks, seed, RandomPurpose::shuffle, 0) : i;
    };
    if (grid.cooperative) {
        std::vector<std::size_t> all(blocks);
        for (std::size_t i = 0; i < blocks; ++i) all[i] = shuffled(i);
        runner().run(grid, body, all, seed % 2 == 1);
        return;
    }
    constexpr std::size_t few_threads = 2048;  // not worth waking the other host threads
    std::exception_ptr error;
    std::atomic<bool> failed{false};
    const bool spread = blocks > 1 && blocks * threads > few_threads && !checker::watches();
#pragma omp parallel for schedule(dynamic) if (spread)
    for (std::size_t i = 0; i < blocks; ++i) {
        if (failed) continue;
        try {
            const std::size_t index = shuffled(i);
            runner().run(grid, body, {&index, 1}, seed && i % 2 == 1);
        } catch (...) {
            if (!failed.exchange(true)) error = std::current_exception();
        }
    }
    if (error) std::rethrow_exception(error);
}

void sync_block(Site site) {
    runner().sync_block(site);
}

void sync_cooperative_grid(Site site) {
    runner().sync_grid(site);
}

std::uint64_t exchange(Exchange kind, unsigned mask, std::uint64_t bits, int source, Site site) {
    return runner().exchange(kind, mask, bits, source, site);
}

void* shared_array(const void* site, const char* name, std::size_t bytes, std::size_t alignment) {
    return runner().block().shared.array(site, name, bytes, alignment);
}

void* dynamic_shared() {
    return runner().block().shared.dynamic();
}

void fail_thread(const char* what, const std::string& why) {
    runner().fail_thread(what, why);
}

std::string place_in_shared_memory(const void* address) {
    return runner().block().shared.place_of(address);
}

}  // namespace onecycle::emulated
