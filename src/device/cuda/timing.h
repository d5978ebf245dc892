// Times by the GPU's clock of work in a captured graph: events are nodes of it, so that the host's
// time for the launches does not count. The emulator has no clock.
#pragma once

#include "device/cuda/handles.h"

namespace onecycle::cuda {

inline Event make_timing_event() {
    cudaEvent_t event = nullptr;
    ONECYCLE_CALL_CUDA(cudaEventCreateWithFlags, &event, cudaEventDefault);
    return Event(event);
}

// In a capture: a node that records the event each time that the graph runs.
inline void record_in_graph(cudaEvent_t event, cudaStream_t stream) {
    ONECYCLE_CALL_CUDA(cudaEventRecordWithFlags, event, stream, cudaEventRecordExternal);
}

inline double seconds_between(cudaEvent_t begin, cudaEvent_t end) {
    float milliseconds = 0;
    ONECYCLE_CALL_CUDA(cudaEventElapsedTime, &milliseconds, begin, end);
    return static_cast<double>(milliseconds) / 1e3;
}

}  // namespace onecycle::cuda
