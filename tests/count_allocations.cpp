#include "count_allocations.h"

#include <atomic>
#include <cstdlib>
#include <limits>
#include <new>

namespace {

constexpr std::size_t never = std::numeric_limits<std::size_t>::max();
std::atomic<std::size_t> counted_from{never}, counted{0}, counted_bytes{0};

}  // namespace

void* operator new(std::size_t bytes) {
    if (bytes >= counted_from) {
        ++counted;
        counted_bytes += bytes;
    }
    if (void* memory = std::malloc(bytes ? bytes : 1)) return memory;
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}

namespace onecycle::testing {

void start_counting_allocations(std::size_t from_bytes) {
    counted = counted_bytes = 0;
    counted_from = from_bytes;
}

Allocations stop_counting_allocations() {
    counted_from = never;
    return {counted, counted_bytes};
}

}  // namespace onecycle::testing
