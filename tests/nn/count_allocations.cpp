#include "nn/count_allocations.h"

#include <atomic>
#include <cstdlib>
#include <limits>
#include <new>

namespace {

std::atomic<std::size_t> counted_from{std::numeric_limits<std::size_t>::max()};
std::atomic<std::size_t> allocations{0};

}  // namespace

void* operator new(std::size_t bytes) {
    if (bytes >= counted_from) ++allocations;
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
    allocations = 0;
    counted_from = from_bytes;
}

std::size_t stop_counting_allocations() {
    counted_from = std::numeric_limits<std::size_t>::max();
    return allocations;
}

}  // namespace onecycle::testing
