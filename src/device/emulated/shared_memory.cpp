#include "device/emulated/shared_memory.h"

#include <algorithm>
#include <cstring>

#include "device/emulated/asan.h"
#include "device/emulated/checker.h"
#include "onecycle/error.h"

namespace onecycle::emulated {

namespace {

constexpr std::size_t redzone = 64;
constexpr std::size_t most_arrays = 64;
constexpr std::size_t alignment_of_all = 128;
constexpr std::size_t arena_bytes = SharedMemory::most_bytes + most_arrays * (redzone + alignment_of_all);
constexpr unsigned char redzone_byte = 0xA5;

}  // namespace

void SharedMemory::reset(std::size_t dynamic_bytes) {
    if (arena_.begin()) {
        ASAN_UNPOISON_MEMORY_REGION(arena_.begin(), end_);
        checker::released(arena_.begin(), end_);
    }
    arrays_.clear();
    end_ = asked_ = 0;
    dynamic_bytes_ = dynamic_bytes;
}

void* SharedMemory::array(const void* site, const char* name, std::size_t bytes, std::size_t alignment) {
    for (const Array& a : arrays_)
        if (a.site == site) return a.begin;
    return add(site, name, bytes, alignment);
}

void* SharedMemory::dynamic() {
    if (dynamic_bytes_ == 0)
        throw Error(ErrorKind::device, "no dynamic shared memory", "emulated CUDA",
                    "the kernel was launched with 0 bytes of it");
    return array(this, "the dynamic array", dynamic_bytes_, alignment_of_all);
}

std::byte* SharedMemory::add(const void* site, const char* name, std::size_t bytes, std::size_t alignment) {
    asked_ += bytes;
    if (asked_ > most_bytes || arrays_.size() == most_arrays || alignment > alignment_of_all)
        throw Error(ErrorKind::device, "too much shared memory", name,
                    std::to_string(asked_) + " bytes in " + std::to_string(arrays_.size() + 1) +
                        " arrays, a block can have " + std::to_string(most_bytes));
    if (!arena_.begin()) arena_ = Pages(arena_bytes);
    if (arrays_.empty()) add_redzone(redzone);
    void* at = arena_.begin() + end_;  // aligned as an address, not as an offset
    std::size_t space = arena_bytes;
    std::align(alignment, bytes, at, space);
    auto* begin = static_cast<std::byte*>(at);
    add_redzone(static_cast<std::size_t>(begin - (arena_.begin() + end_)));
    std::memset(begin, 0xFF, bytes);
    end_ += bytes;
    add_redzone(redzone);
    arrays_.push_back({site, name, begin, bytes});
    checker::shared_array_added(begin, bytes);
    return begin;
}

void SharedMemory::add_redzone(std::size_t bytes) {
    std::memset(arena_.begin() + end_, redzone_byte, bytes);
    ASAN_POISON_MEMORY_REGION(arena_.begin() + end_, bytes);
    end_ += bytes;
}

std::string SharedMemory::damaged() const {
#if !defined(__SANITIZE_ADDRESS__)  // which sees the access itself
    for (const Array& a : arrays_) {
        const auto whole = [](const std::byte* zone) {
            return std::all_of(zone, zone + redzone,
                               [](std::byte b) { return b == std::byte{redzone_byte}; });
        };
        if (!whole(a.begin - redzone) || !whole(a.begin + a.bytes)) return a.name;
    }
#endif
    return "";
}

std::string SharedMemory::place_of(const void* address) const {
    const auto* at = static_cast<const std::byte*>(address);
    if (!arena_.begin() || at < arena_.begin() || at >= arena_.begin() + arena_bytes) return "";
    const Array* nearest = nullptr;
    std::ptrdiff_t distance = 0;
    for (const Array& a : arrays_) {
        const std::ptrdiff_t d = std::max(a.begin - at, at - (a.begin + a.bytes) + 1);
        if (nearest && d >= distance) continue;
        nearest = &a;
        distance = d;
    }
    if (!nearest) return "shared memory";
    return std::string("byte ") + std::to_string(at - nearest->begin) + " of " + nearest->name + " (" +
           std::to_string(nearest->bytes) + " bytes of shared memory)";
}

}  // namespace onecycle::emulated
