// Times plans of cuDNN on buffers of its own: the second-level cache is cold, medians count.
#pragma once

#include <cstddef>
#include <vector>

#include "device/cuda/timing.h"
#include "ops/cuda/cudnn.h"

namespace onecycle::cuda {

// Memory of the device for the time of a search.
class TimingMemory {
  public:
    explicit TimingMemory(std::size_t bytes);
    ~TimingMemory() { cudaFree(data_); }
    TimingMemory(TimingMemory&& other) noexcept;
    TimingMemory(const TimingMemory&) = delete;
    TimingMemory& operator=(const TimingMemory&) = delete;
    TimingMemory& operator=(TimingMemory&&) = delete;
    void* data() const { return data_; }
    std::size_t bytes() const { return bytes_; }

  private:
    std::size_t bytes_;
    void* data_ = nullptr;
};

class PlanTimer {
  public:
    struct Buffer {
        DType type;
        std::size_t bytes;
    };
    // One for each tensor that a plan takes, in its order. Throws Error(device) where there is no
    // memory for them.
    explicit PlanTimer(const std::vector<Buffer>& buffers);

    // Milliseconds; gives up early on a plan that takes more than three times `best`. Throws
    // Error(device) when it does not run. The plan is part of a captured graph, as in a step, so
    // that the host's time for the call does not count.
    double time(const cudnn::Plan& plan, double best);
    // Runs it once and waits.
    void run(const cudnn::Plan& plan);
    // The contents of a buffer.
    std::vector<std::byte> read(std::size_t buffer) const;

    // Waits for what a plan that failed left behind. False: the error stays, nothing will work any
    // more.
    bool device_works() const;

  private:
    std::vector<void*> pointers() const;

    std::vector<TimingMemory> buffers_;
    TimingMemory flushed_;
    StreamHandle stream_ = make_stream(0);
    Event begin_ = make_timing_event(), end_ = make_timing_event();
};

}  // namespace onecycle::cuda
