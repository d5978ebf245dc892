// Copies between ordinary host memory and the device, by way of a ring of pinned memory: a copy in
// returns when its bytes are in the ring and takes its place in the stream; it waits only when the
// ring is full.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "device/cuda/handles.h"

namespace onecycle::ONECYCLE_CUDA {

class Staging {
  public:
    Staging(cudaStream_t stream, std::size_t ring_bytes);
    Staging(const Staging&) = delete;
    Staging& operator=(const Staging&) = delete;
    ~Staging();

    void copy_in(std::byte* to, const void* from_host, std::size_t bytes);
    // Waits for everything on the stream.
    void copy_out(void* to_host, const std::byte* from, std::size_t bytes);

  private:
    // A part of the ring that the stream still reads, and the event after which it does not.
    struct InUse {
        std::size_t begin, end;
        Event sent;
    };

    std::byte* take(std::size_t bytes);
    void wait_for_oldest();

    cudaStream_t stream_;
    std::size_t ring_bytes_;
    std::byte* ring_ = nullptr;  // allocated by the first copy
    std::size_t next_ = 0;
    std::deque<InUse> in_use_;  // oldest first
    std::vector<Event> spare_;
};

}  // namespace onecycle::ONECYCLE_CUDA
