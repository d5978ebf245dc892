// Streams, events and graphs of CUDA that destroy themselves.
#pragma once

#include <utility>

#include "device/cuda/calls.h"

namespace onecycle::ONECYCLE_CUDA {

template <typename T, typename Destroy>
class Handle {
  public:
    Handle() = default;
    explicit Handle(T handle) : handle_(handle) {}
    Handle(Handle&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Handle& operator=(Handle&& other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~Handle() {
        if (handle_) Destroy{}(handle_);
    }
    T get() const { return handle_; }

  private:
    T handle_ = nullptr;
};

#define ONECYCLE_HANDLE(name, type, function)                                         \
    struct name##Destroy {                                                            \
        void operator()(type handle) const { ONECYCLE_CLOSE_CUDA(function, handle); } \
    };                                                                                \
    using name = Handle<type, name##Destroy>;
ONECYCLE_HANDLE(StreamHandle, cudaStream_t, cudaStreamDestroy)
ONECYCLE_HANDLE(Event, cudaEvent_t, cudaEventDestroy)
ONECYCLE_HANDLE(Graph, cudaGraph_t, cudaGraphDestroy)
ONECYCLE_HANDLE(GraphExec, cudaGraphExec_t, cudaGraphExecDestroy)
#undef ONECYCLE_HANDLE

inline Event make_event() {
    cudaEvent_t event = nullptr;
    ONECYCLE_CALL_CUDA(cudaEventCreateWithFlags, &event, cudaEventDisableTiming);
    return Event(event);
}

// No stream waits for the legacy default stream, nor does it wait for them.
inline StreamHandle make_stream(int priority) {
    cudaStream_t stream = nullptr;
    ONECYCLE_CALL_CUDA(cudaStreamCreateWithPriority, &stream, cudaStreamNonBlocking, priority);
    return StreamHandle(stream);
}

}  // namespace onecycle::ONECYCLE_CUDA
