// Who touched what, and in which order.
//
// Two accesses of one grid are ordered if one thread makes both, if a barrier of their block lies
// between, if the barrier of the grid does, or if a chain of __syncwarp() leads from lane to lane.
// (A shuffle or a vote orders no memory, as CUDA has it.) Two that are not ordered, one of them a
// write, are a race, unless both are atomic.
//
// A thread between two such meetings is an event. A word remembers the last write, and of reads and
// of atomics two events: if more were unordered among each other, two of different blocks or else
// warps meet every later write that any of them would. (Not so for three lanes of one warp that a
// __syncwarp() of a part of it follows.)
#include "device/emulated/shadow.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "device/emulated/block.h"
#include "device/emulated/memory.h"
#include "device/emulated/shadow_counts.h"
#include "onecycle/error.h"

namespace onecycle::emulated {

namespace shadow {

namespace {

using EventId = std::uint32_t;  // ids of earlier grids are smaller than `first_event`

struct Event {
    std::uint32_t block, thread, epoch, grid_epoch, clock;
};

struct Cell {
    EventId write, reads[2], atomics[2];
    std::uint32_t split;  // == grid: the bytes of the word have cells of their own
};

template <typename T>
T* map_table(std::size_t entries) {
    void* memory = mmap(nullptr, entries * sizeof(T), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        throw Error(ErrorKind::device, "not enough addresses", "emulated CUDA", "for the shadow memory");
    return static_cast<T*>(memory);
}

// Gives back the whole pages in a part of a table: they are zero.
void give_back(void* begin, std::size_t bytes) {
    constexpr std::uintptr_t page = 4096;
    const std::uintptr_t first = (reinterpret_cast<std::uintptr_t>(begin) + page - 1) / page * page,
                         end = (reinterpret_cast<std::uintptr_t>(begin) + bytes) / page * page;
    if (first < end) madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
}

constexpr std::size_t most_kept = std::size_t{1} << 20;  // bytes of a region whose cells stay in memory

// Used by one host thread at a time: the runtime's lock sees to it.
struct Tables {
    std::uint8_t* flags = map_table<std::uint8_t>(window_bytes);
    Cell* words = map_table<Cell>(window_bytes / 4);
    Cell* bytes = map_table<Cell>(window_bytes);
    std::vector<Event> events;  // of this grid
    EventId first_event = 1;
    std::uint32_t grid = 0;
    std::uintptr_t next_address = window;
    unsigned to_read = live | initialised, to_write = live;  // the flags that an access needs
};

Tables* instance = nullptr;  // stays to the end

inline Tables& tables() {
    if (!instance) instance = new Tables;
    return *instance;
}

// Of a warp: what each lane knows of each lane. Lane l's accesses up to its clock known[m][l] came
// before what lane m does now; its own clock is known[l][l].
using WarpClocks = std::array<std::array<std::uint32_t, 32>, 32>;
std::unordered_map<std::uint64_t, WarpClocks> warp_clocks;  // of warps that ever met

std::uint64_t warp_of(const ThreadState& t) {
    return std::uint64_t{t.block->number} * 32 + static_cast<std::uint64_t>(t.warp);
}

const WarpClocks* clocks_of(const ThreadState& t) {
    if (warp_clocks.empty()) return nullptr;
    const auto at = warp_clocks.find(warp_of(t));
    return at == warp_clocks.end() ? nullptr : &at->second;
}

std::uint8_t* flags_of(const void* address) {
    return tables().flags + (reinterpret_cast<std::uintptr_t>(address) - window);
}

EventId event_of(ThreadState& t) {
    if (t.event < tables().first_event) {
        Tables& s = tables();
        const WarpClocks* clocks = clocks_of(t);
        const auto lane = static_cast<std::size_t>(t.lane);
        s.events.push_back({t.block->number, static_cast<std::uint32_t>(t.linear), t.block->epoch,
                            t.block->grid_epoch, clocks ? (*clocks)[lane][lane] : 1});
        t.event = s.first_event + static_cast<EventId>(s.events.size()) - 1;
    }
    return t.event;
}

const Event& event(EventId id) {
    return tables().events[id - tables().first_event];
}

bool ordered_in_this_grid(EventId id, const ThreadState& now, bool in_shared) {
    const Event& e = event(id);
    const BlockState& block = *now.block;
    // Another block's shared memory lay there before.
    if (e.block != block.number) return in_shared || e.grid_epoch < block.grid_epoch;
    if (e.thread == static_cast<std::uint32_t>(now.linear) || e.epoch < block.epoch) return true;
    if (e.thread / 32 != static_cast<std::uint32_t>(now.warp)) return false;
    const WarpClocks* clocks = clocks_of(now);
    return clocks && (*clocks)[static_cast<std::size_t>(now.lane)][e.thread % 32] >= e.clock;
}

inline bool ordered(EventId id, const ThreadState& now, bool in_shared) {
    return id < tables().first_event || ordered_in_this_grid(id, now, in_shared);
}

std::string text(const ThreadState& t) {
    return fmt::format("thread {} of block {}", t.linear, t.block->number);
}

std::string place_of(const void* address) {
    if (const std::string place = place_in_shared_memory(address); !place.empty()) return place;
    if (const std::string place = place_in_operands(address); !place.empty()) return place;
    return place_in_memory(address);
}

// "program+0x1234", for addr2line.
std::string code_place(const void* at) {
    Dl_info info{};
    if (dladdr(at, &info) == 0 || !info.dli_fname) return "";
    const std::string file = info.dli_fname;
    return fmt::format("{}+{:#x}", file.substr(file.find_last_of('/') + 1),
                       static_cast<const char*>(at) - static_cast<const char*>(info.dli_fbase) - 1);
}

const char* verb(Access how) {
    return how == Access::read ? "reads" : how == Access::write ? "writes" : "changes atomically";
}

struct Attempt {
    ThreadState& thread;
    const std::byte* begin;
    Access how;
    const void* from;

    [[noreturn]] void fail(const char* what, const void* at, const std::string& why) const {
        fail_thread(what, fmt::format("{} {} {}{} (in {})", text(thread), verb(how), place_of(at), why,
                                      code_place(from)));
    }
};

[[noreturn]] void race(const Attempt& attempt, const void* at, EventId other, const char* did) {
    const Event& e = event(other);
    attempt.fail(
        "data race", at,
        fmt::format(", which thread {} of block {} {}, and nothing orders the two", e.thread, e.block, did));
}

// Two events that stand for all: see above.
void remember(EventId (&events)[2], EventId id, const ThreadState& now, bool in_shared) {
    for (EventId& e : events) {
        if (e == id) return;
        if (ordered(e, now, in_shared)) e = 0;
    }
    if (!events[0]) {
        events[0] = id;
    } else if (!events[1]) {
        events[1] = id;
    } else {
        const Event &a = event(events[0]), &b = event(events[1]), &c = event(id);
        if (a.block == b.block &&
            (c.block != a.block || (a.thread / 32 == b.thread / 32 && c.thread / 32 != a.thread / 32)))
            events[1] = id;
    }
}

inline void touch(Cell& cell, const Attempt& attempt, EventId id, const void* at, bool in_shared) {
    const auto require = [&](EventId other, const char* did) {
        if (!ordered(other, attempt.thread, in_shared)) race(attempt, at, other, did);
    };
    if (attempt.how == Access::read && cell.reads[0] == id) return;
    require(cell.write, "wrote");
    if (attempt.how != Access::atomic)
        for (EventId e : cell.atomics) require(e, "changed atomically");
    if (attempt.how != Access::read)
        for (EventId e : cell.reads) require(e, "read");
    switch (attempt.how) {
        case Access::read:
            return remember(cell.reads, id, attempt.thread, in_shared);
        case Access::atomic:
            return remember(cell.atomics, id, attempt.thread, in_shared);
        case Access::write:
            cell = {id, {}, {}, cell.split};
    }
}

void check_order(const Attempt& attempt, std::size_t bytes, bool in_shared) {
    Tables& s = tables();
    const EventId id = event_of(attempt.thread);
    std::uintptr_t at = reinterpret_cast<std::uintptr_t>(attempt.begin) - window;
    const std::uintptr_t end = at + bytes;
    while (at < end) {
        Cell& word = s.words[at / 4];
        const std::uintptr_t next = at / 4 * 4 + 4;
        const auto* address = reinterpret_cast<const void*>(window + at);
        if (word.split != s.grid) {
            if (at % 4 == 0 && next <= end) {
                touch(word, attempt, id, address, in_shared);
                at = next;
                continue;
            }
            word.split = s.grid;
            std::fill_n(s.bytes + at / 4 * 4, 4, word);
        }
        for (; at < std::min(next, end); ++at)
            touch(s.bytes[at], attempt, id, reinterpret_cast<const void*>(window + at), in_shared);
    }
}

void check_permission(const Attempt& attempt, std::size_t bytes, unsigned needed) {
    const void* bad = first_without(attempt.begin, bytes, needed);
    if (!bad) return;
    const unsigned lacks = needed & ~static_cast<unsigned>(*flags_of(bad));
    if (lacks & live) attempt.fail("an access out of bounds", bad, "");
    if ((lacks & (readable | writable)) && !(*flags_of(bad) & own))
        attempt.fail("an access that the operation does not declare", bad, "");
    if (lacks & initialised) attempt.fail("a read of memory that has no value", bad, "");
}

}  // namespace

bool in_window(const void* address) {
    return reinterpret_cast<std::uintptr_t>(address) - window < window_bytes;
}

void set_flags(const void* begin, std::size_t bytes, unsigned flags) {
    std::uint8_t* const f = flags_of(begin);
    for (std::size_t i = 0; i < bytes; ++i) f[i] = static_cast<std::uint8_t>(f[i] | flags);
}

void clear_flags(const void* begin, std::size_t bytes, unsigned flags) {
    std::uint8_t* const f = flags_of(begin);
    for (std::size_t i = 0; i < bytes; ++i) f[i] = static_cast<std::uint8_t>(f[i] & ~flags);
}

void copy_flags(const void* to, const void* from, std::size_t bytes, unsigned flags) {
    std::uint8_t *const t = flags_of(to), *const f = flags_of(from);
    for (std::size_t i = 0; i < bytes; ++i)
        t[i] = static_cast<std::uint8_t>((t[i] & ~flags) | (f[i] & flags));
}

const void* first_without(const void* begin, std::size_t bytes, unsigned flags) {
    const std::uint8_t* const f = flags_of(begin);
    if (bytes == 4) {
        std::uint32_t there;
        std::memcpy(&there, f, 4);
        if ((there & flags * 0x01010101u) == flags * 0x01010101u) return nullptr;
    }
    std::size_t i = 0;
    const std::uint64_t eight = flags * 0x0101010101010101ull;
    for (; i + 8 <= bytes; i += 8) {
        std::uint64_t there;
        std::memcpy(&there, f + i, 8);
        if ((there & eight) != eight) break;
    }
    for (; i < bytes; ++i)
        if ((f[i] & flags) != flags) return static_cast<const std::byte*>(begin) + i;
    return nullptr;
}

void restrict_access(bool on) {
    tables().to_read = live | initialised | (on ? readable : 0u);
    tables().to_write = live | (on ? writable : 0u);
}

void access(const void* begin, std::size_t bytes, Access how, const void* from) {
    if (!in_window(begin) || !self || bytes == 0) return;
    const Attempt attempt{*self, static_cast<const std::byte*>(begin), how, from};
    const unsigned to_read = tables().to_read, to_write = tables().to_write;
    check_permission(attempt, bytes,
                     how == Access::read    ? to_read
                     : how == Access::write ? to_write
                                            : to_read | to_write);
    const bool in_shared = *flags_of(begin) & shared;
    check_order(attempt, bytes, in_shared);
    if (how == Access::write) set_flags(begin, bytes, initialised);
    if (counts::on)
        counts::access(*self, reinterpret_cast<std::uintptr_t>(begin), bytes, how, in_shared, from);
}

}  // namespace shadow

namespace checker {

using namespace shadow;

bool watches() {
    return true;
}

void* address_for(std::size_t bytes) {
    constexpr std::uintptr_t page = 4096;
    Tables& s = tables();
    bytes = (bytes + page - 1) / page * page;
    if (s.next_address + bytes > window + window_bytes) s.next_address = window;
    void* const address = reinterpret_cast<void*>(s.next_address);
    s.next_address += bytes;
    return address;
}

void allocated(const void* begin, std::size_t bytes, bool pinned) {
    set_flags(begin, bytes, pinned ? live | initialised | own | readable | writable : live);
}

void released(const void* begin, std::size_t bytes) {
    clear_flags(begin, bytes, 0xFF);
    if (bytes < most_kept) return;
    // Nobody asks for these cells before they are written again, and zeros are as good as old
    // events.
    const std::uintptr_t at = reinterpret_cast<std::uintptr_t>(begin) - window;
    give_back(tables().flags + at, bytes);
    give_back(tables().words + at / 4, bytes / 4 * sizeof(Cell));
    give_back(tables().bytes + at, bytes * sizeof(Cell));
}

void copied(const void* to, const void* from, std::size_t bytes) {
    if (!in_window(to) || !first_without(to, 1, own)) return;  // the host's memory always has values
    if (in_window(from))
        copy_flags(to, from, bytes, initialised);
    else
        set_flags(to, bytes, initialised);
}

void filled(const void* to, std::size_t bytes) {
    set_flags(to, bytes, initialised);
}

void shared_array_added(const void* begin, std::size_t bytes) {
    set_flags(begin, bytes, live | shared | own | readable | writable);
}

void grid_begins(const Grid& grid) {
    if (counts::on) counts::launch_begins(grid);
    Tables& s = tables();
    s.first_event += static_cast<EventId>(s.events.size());
    s.events.clear();
    ++s.grid;
    if (s.first_event >> 31 == 0) return;
    // Ids begin again, and no word may know an old one.
    give_back(s.words, window_bytes / 4 * sizeof(Cell));
    give_back(s.bytes, window_bytes * sizeof(Cell));
    s.first_event = s.grid = 1;
}

void blocks_begin() {
    if (counts::on) counts::blocks_ended();
    warp_clocks.clear();
}

void lanes_met(const ThreadState& thread, unsigned mask) {
    if (!counts::on) return;
    const dim3& dim = thread.block->block_dim;
    const unsigned from_here = dim.x * dim.y * dim.z - static_cast<unsigned>(thread.warp) * 32;
    if (mask == (from_here < 32 ? (1u << from_here) - 1 : ~0u)) counts::warp_met(thread);
}

void warp_synchronized(const ThreadState& thread, unsigned mask) {
    const auto [at, is_new] = warp_clocks.try_emplace(warp_of(thread));
    WarpClocks& known = at->second;
    if (is_new)
        for (std::size_t lane = 0; lane < 32; ++lane) known[lane][lane] = 1;
    std::array<std::uint32_t, 32> all{};
    for (std::size_t lane = 0; lane < 32; ++lane)
        if (mask >> lane & 1u)
            for (std::size_t i = 0; i < 32; ++i) all[i] = std::max(all[i], known[lane][i]);
    for (std::size_t lane = 0; lane < 32; ++lane)
        if (mask >> lane & 1u) {
            known[lane] = all;
            ++known[lane][lane];
        }
}

}  // namespace checker

}  // namespace onecycle::emulated
