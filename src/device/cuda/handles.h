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

// What `issue` puts on the stream, as a graph; `flags` as of cudaGraphInstantiate.
template <typename Issue>
GraphExec capture_graph(cudaStream_t stream, const Issue& issue, unsigned long long flags = 0) {
    ONECYCLE_CALL_CUDA(cudaStreamBeginCapture, stream, cudaStreamCaptureModeThreadLocal);
    cudaGraph_t captured = nullptr;
    try {
        issue();
    } catch (...) {  // the stream must not stay in capture
        if (ONECYCLE_TRY_CUDA(cudaStreamEndCapture, stream, &captured) != cudaSuccess)
            ONECYCLE_TRY_CUDA(cudaGetLastError);
        const Graph unfinished(captured);
        throw;
    }
    ONECYCLE_CALL_CUDA(cudaStreamEndCapture, stream, &captured);
    const Graph graph(captured);
    cudaGraphExec_t exec = nullptr;
    ONECYCLE_CALL_CUDA(cudaGraphInstantiate, &exec, graph.get(), flags);
    return GraphExec(exec);
}

// No stream waits for the legacy default stream, nor does it wait for them.
inline StreamHandle make_stream(int priority) {
    cudaStream_t stream = nullptr;
    ONECYCLE_CALL_CUDA(cudaStreamCreateWithPriority, &stream, cudaStreamNonBlocking, priority);
    return StreamHandle(stream);
}

}  // namespace onecycle::ONECYCLE_CUDA
