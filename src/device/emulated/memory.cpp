#include "device/emulated/memory.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "device/emulated/asan.h"
#include "device/emulated/block.h"
#include "device/emulated/checker.h"
#include "device/emulated/fiber.h"
#include "onecycle/error.h"

namespace onecycle::emulated {

namespace {

constexpr std::size_t page = 4096, alignment = 256;
constexpr std::size_t most_freed = 512;  // allocations whose addresses stay closed

struct Region {
    std::byte* mapping;
    std::size_t mapped, bytes;
    std::byte* begin;
    Space space;
    bool freed;
};

// Locked by the runtime, which alone calls this file. The handler of faults reads it without a
// lock: the process is about to end.
struct Memory {
    std::map<std::uintptr_t, Region> regions;  // by the address of the mapping
    std::deque<std::uintptr_t> freed;
    std::size_t limit = std::size_t{16} << 30, in_use = 0;
    int open = 0;
};

Memory& memory() {
    static Memory& instance = *new Memory;  // outlives every static object that frees memory
    return instance;
}

const Region* region_of(const void* address) {
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    auto next = memory().regions.upper_bound(at);
    if (next == memory().regions.begin()) return nullptr;
    const Region& region = std::prev(next)->second;
    return at < std::prev(next)->first + region.mapped ? &region : nullptr;
}

void set_access(const Region& region, bool open) {
    // The first and the last page stay closed.
    if (mprotect(region.mapping + page, region.mapped - 2 * page,
                 open ? PROT_READ | PROT_WRITE : PROT_NONE) != 0)
        throw Error(ErrorKind::device, "cannot protect memory", "emulated CUDA", std::strerror(errno));
}

struct sigaction handler_before;

void report(const char* text) {
    if (write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
}

void on_fault(int signal, siginfo_t* info, void*) {
    sigaction(signal, &handler_before, nullptr);  // the fault repeats, and goes there
    const void* address = info->si_addr;
    char line[320];
    if (self && Fiber::current().overflowed_at(address)) {
        report("error: emulated CUDA: a kernel needs more stack than its threads have\n");
    } else if (const Region* region = region_of(address)) {
        const auto offset = static_cast<const std::byte*>(address) - region->begin;
        std::snprintf(line, sizeof line,
                      "error: emulated CUDA: %s touched %s memory%s: byte %td of an allocation of %zu%s\n",
                      self ? "a kernel" : "host code", region->space == Space::device ? "device" : "pinned",
                      region->freed ? " that was freed" : "", offset, region->bytes,
                      self || region->freed ? "" : "; fix: copy it with cudaMemcpyAsync and wait");
        report(line);
    }
}

void install_handler() {
    static std::once_flag once;
    std::call_once(once, [] {
        struct sigaction action {};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigaction(SIGSEGV, &action, &handler_before);
    });
}

// Where the checker wants them, if it does.
void* map_pages(std::size_t bytes, int protection) {
    constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    for (int attempt = 0; attempt < 1000; ++attempt) {
        void* const wanted = checker::address_for(bytes);
        void* const mapping =
            mmap(wanted, bytes, protection, flags | (wanted ? MAP_FIXED_NOREPLACE : 0), -1, 0);
        if (mapping == MAP_FAILED && errno == EEXIST) continue;
        // A thread's stack may have lain there, which the sanitizer remembers.
        if (mapping != MAP_FAILED) ASAN_UNPOISON_MEMORY_REGION(mapping, bytes);
        return mapping;
    }
    return MAP_FAILED;
}

void unmap(std::map<std::uintptr_t, Region>::iterator at) {
    const Region& region = at->second;
    if (!region.freed) checker::released(region.begin, region.bytes);
    ASAN_UNPOISON_MEMORY_REGION(region.mapping, region.mapped);
    munmap(region.mapping, region.mapped);
    memory().regions.erase(at);
}

void free_region(Region& region) {
    Memory& m = memory();
    region.freed = true;
    checker::released(region.begin, region.bytes);
    if (region.space == Space::device) m.in_use -= region.bytes;
    // Gives the pages back and closes the addresses in one.
    mmap(region.mapping, region.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
         -1, 0);
    m.freed.push_back(reinterpret_cast<std::uintptr_t>(region.mapping));
    if (m.freed.size() > most_freed) {
        unmap(m.regions.find(m.freed.front()));
        m.freed.pop_front();
    }
}

}  // namespace

Pages::Pages(std::size_t bytes) : bytes_(bytes) {
    void* memory = map_pages(bytes, PROT_READ | PROT_WRITE);
    if (memory == MAP_FAILED)
        throw Error(ErrorKind::device, "not enough memory", "emulated CUDA", std::strerror(errno));
    begin_ = static_cast<std::byte*>(memory);
}
Pages::Pages(Pages&& other) noexcept : begin_(std::exchange(other.begin_, nullptr)), bytes_(other.bytes_) {}
Pages& Pages::operator=(Pages&& other) noexcept {
    std::swap(begin_, other.begin_);
    std::swap(bytes_, other.bytes_);
    return *this;
}
Pages::~Pages() {
    if (begin_) munmap(begin_, bytes_);
}

void* allocate(Space space, std::size_t bytes) {
    install_handler();
    Memory& m = memory();
    if (space == Space::device && bytes > m.limit - std::min(m.limit, m.in_use)) return nullptr;
    const std::size_t aligned = (bytes + alignment - 1) / alignment * alignment;
    const std::size_t mapped = (aligned + page - 1) / page * page + 2 * page;
    void* mapping = map_pages(mapped, PROT_NONE);
    if (mapping == MAP_FAILED) return nullptr;
    auto* first = static_cast<std::byte*>(mapping);
    const Region region{first, mapped, bytes, first + mapped - page - aligned, space, false};
    set_access(region, true);
    if (space == Space::device) std::memset(region.begin, 0xFF, bytes);
    ASAN_POISON_MEMORY_REGION(first + page, static_cast<std::size_t>(region.begin - (first + page)));
    ASAN_POISON_MEMORY_REGION(region.begin + bytes, aligned - bytes);
    checker::allocated(region.begin, bytes, space == Space::pinned);
    if (space == Space::device) {
        m.in_use += bytes;
        if (m.open == 0) set_access(region, false);
    }
    m.regions[reinterpret_cast<std::uintptr_t>(mapping)] = region;
    return region.begin;
}

bool release(Space space, void* address) {
    const Region* region = region_of(address);
    if (!region || region->freed || region->begin != address || region->space != space) return false;
    free_region(*const_cast<Region*>(region));
    return true;
}

void release_everything() {
    while (!memory().regions.empty()) unmap(memory().regions.begin());
    memory().freed.clear();
    memory().in_use = 0;
}

std::optional<Allocation> allocation_of(const void* address) {
    const Region* region = region_of(address);
    if (!region || region->freed || address < region->begin || address >= region->begin + region->bytes)
        return std::nullopt;
    return Allocation{region->begin, region->bytes, region->space};
}

std::string place_in_memory(const void* address) {
    const Region* region = region_of(address);
    if (!region) return "memory that was never allocated";
    const std::ptrdiff_t offset = static_cast<const std::byte*>(address) - region->begin;
    return "byte " + std::to_string(offset) + " of an allocation of " + std::to_string(region->bytes) +
           (region->space == Space::device ? " bytes of device memory" : " bytes of pinned memory") +
           (region->freed ? " that was freed" : "");
}

std::size_t device_memory() {
    return memory().limit;
}
std::size_t device_memory_in_use() {
    return memory().in_use;
}
void set_device_memory(std::size_t bytes) {
    memory().limit = bytes;
}

OpenMemory::OpenMemory() {
    if (memory().open++ > 0) return;
    for (const auto& [at, region] : memory().regions)
        if (region.space == Space::device && !region.freed) set_access(region, true);
}
OpenMemory::~OpenMemory() {
    if (--memory().open > 0) return;
    for (const auto& [at, region] : memory().regions)
        if (region.space == Space::device && !region.freed) set_access(region, false);
}

void handle_faults_on_this_thread() {
    install_handler();
    stack_t now{};
    if (sigaltstack(nullptr, &now) != 0 || !(now.ss_flags & SS_DISABLE)) return;  // AddressSanitizer's, say
    constexpr std::size_t bytes = std::size_t{64} << 10;
    struct Stack {
        std::unique_ptr<std::byte[]> memory{new std::byte[bytes]};
        ~Stack() {
            stack_t none{};
            none.ss_flags = SS_DISABLE;
            sigaltstack(&none, nullptr);
        }
    };
    thread_local Stack stack;
    stack_t own{};
    own.ss_sp = stack.memory.get();
    own.ss_size = bytes;
    sigaltstack(&own, nullptr);
}

}  // namespace onecycle::emulated
