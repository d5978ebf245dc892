// The shared memory of a block: the dynamic array first, then each static array where the first
// thread that comes to its declaration puts it. All is poisoned at the start (floats of these bits
// are NaN), and redzones stand between the arrays.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "device/emulated/memory.h"

namespace onecycle::emulated {

class SharedMemory {
  public:
    SharedMemory() = default;
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;
    ~SharedMemory() { reset(0); }

    static constexpr std::size_t most_bytes = std::size_t{227} << 10;  // a block's on sm_90

    // Forgets every array; the next block has this many bytes of dynamic shared memory.
    void reset(std::size_t dynamic_bytes);

    // The array declared at `site`, the same for all threads. Throws Error(device) when a block
    // cannot have so much.
    void* array(const void* site, const char* name, std::size_t bytes, std::size_t alignment);
    void* dynamic();

    // The array next to which something was written that belongs to nobody; empty if all is well.
    std::string damaged() const;

    // "byte 12 of partial (128 bytes)", in or beside an array; "" outside of the arena.
    std::string place_of(const void* address) const;

  private:
    struct Array {
        const void* site;
        const char* name;
        std::byte* begin;
        std::size_t bytes;
    };
    std::byte* add(const void* site, const char* name, std::size_t bytes, std::size_t alignment);
    void add_redzone(std::size_t bytes);

    Pages arena_;
    std::size_t end_ = 0;    // of the last redzone
    std::size_t asked_ = 0;  // bytes, without redzones
    std::size_t dynamic_bytes_ = 0;
    std::vector<Array> arrays_;
};

}  // namespace onecycle::emulated
