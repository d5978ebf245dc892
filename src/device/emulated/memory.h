// The memory of the emulated GPU. Device memory is a space of its own: the host may not touch it,
// nor may anybody touch what was freed. Pinned memory is the host's, and the device's too.
//
// How: each allocation has pages of its own, its end at a page that nobody may touch. Pages of
// device memory are open only while work runs. Freed addresses stay closed for long. A fault says
// on stderr what was touched, and goes on to whoever handled faults before (AddressSanitizer, a
// debugger, the system's default).
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace onecycle::emulated {

enum class Space { device, pinned };

struct Allocation {
    std::byte* begin;
    std::size_t bytes;
    Space space;
};

// Pages of the process, all zero, given back at the end. Throws Error(device).
class Pages {
  public:
    Pages() = default;
    explicit Pages(std::size_t bytes);
    Pages(Pages&& other) noexcept;
    Pages& operator=(Pages&& other) noexcept;
    Pages(const Pages&) = delete;
    Pages& operator=(const Pages&) = delete;
    ~Pages();
    std::byte* begin() const { return begin_; }

  private:
    std::byte* begin_ = nullptr;
    std::size_t bytes_ = 0;
};

// 256-byte aligned; device memory is filled with 0xFF (floats of these bits are NaN). Null when
// there is not enough.
void* allocate(Space space, std::size_t bytes);
// False when it is not the beginning of such an allocation.
bool release(Space space, void* memory);
void release_everything();

// For messages: "byte 12 of an allocation of 128 bytes of device memory".
std::string place_in_memory(const void* address);

// The live allocation that holds this address.
std::optional<Allocation> allocation_of(const void* address);

// Of the device, in bytes. `set_device_memory` is for tests of what happens when there is too
// little.
std::size_t device_memory();
std::size_t device_memory_in_use();
void set_device_memory(std::size_t bytes);

// Device memory can be read and written while one of these lives.
class OpenMemory {
  public:
    OpenMemory();
    ~OpenMemory();
    OpenMemory(const OpenMemory&) = delete;
    OpenMemory& operator=(const OpenMemory&) = delete;
};

// A stack that has overflowed cannot serve the handler of that fault: gives this host thread one
// for it.
void handle_faults_on_this_thread();

}  // namespace onecycle::emulated
