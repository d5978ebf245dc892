// The device, its memory, streams and events. Captures and graphs are in graph.cpp.
#include "device/emulated/runtime.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "device/emulated/context.h"
#include "device/emulated/memory.h"

namespace onecycle::emulated {

namespace {

struct ErrorText {
    cudaError_t error;
    const char *name, *text;
};
#define ONECYCLE_ERROR(name, text) \
    { name, #name, text }
constexpr ErrorText error_texts[] = {
    ONECYCLE_ERROR(cudaSuccess, "no error"),
    ONECYCLE_ERROR(cudaErrorInvalidValue, "invalid argument"),
    ONECYCLE_ERROR(cudaErrorMemoryAllocation, "out of memory"),
    ONECYCLE_ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    ONECYCLE_ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    ONECYCLE_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    ONECYCLE_ERROR(cudaErrorIllegalState, "the operation cannot be performed in the present state"),
    ONECYCLE_ERROR(cudaErrorNotReady, "device not ready"),
    ONECYCLE_ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
    ONECYCLE_ERROR(cudaErrorCooperativeLaunchTooLarge, "too many blocks in cooperative launch"),
    ONECYCLE_ERROR(cudaErrorNotPermitted, "operation not permitted"),
    ONECYCLE_ERROR(cudaErrorNotSupported, "operation not supported"),
    ONECYCLE_ERROR(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"),
    ONECYCLE_ERROR(cudaErrorStreamCaptureInvalidated,
                   "operation failed due to a previous error during capture"),
    ONECYCLE_ERROR(cudaErrorStreamCaptureMerge,
                   "operation would result in a merge of separate capture sequences"),
    ONECYCLE_ERROR(cudaErrorStreamCaptureUnmatched, "capture was not ended in the same stream as it began"),
    ONECYCLE_ERROR(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"),
    ONECYCLE_ERROR(cudaErrorStreamCaptureIsolation,
                   "dependency created on uncaptured work in another stream"),
    ONECYCLE_ERROR(cudaErrorCapturedEvent,
                   "operation not permitted on an event last recorded in a capturing stream"),
    ONECYCLE_ERROR(cudaErrorStreamCaptureWrongThread,
                   "attempt to terminate a thread-local capture sequence from another thread"),
};
#undef ONECYCLE_ERROR

const ErrorText* text_of(cudaError_t error) {
    for (const ErrorText& t : error_texts)
        if (t.error == error) return &t;
    return nullptr;
}

std::atomic<int> devices{1};
thread_local int current_device = 0;
bool is_there(int device) {
    return device >= 0 && device < devices;
}

Action action(std::function<void()> f) {
    return std::make_shared<const std::function<void()>>(std::move(f));
}

// Where memory lies that begins at an address; `whole`: and all of these bytes in one allocation.
struct Place {
    bool device = false, pinned = false, whole = true;
};
Place place_of(const void* address, std::size_t bytes) {
    const auto a = allocation_of(address);
    if (!a) return {};
    const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(address) - a->begin);
    return {a->space == Space::device, a->space == Space::pinned, bytes <= a->bytes - offset};
}

cudaError_t copy(Context& c, void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                 StreamState& s) {
    const Place target = place_of(to, bytes), source = place_of(from, bytes);
    if (!target.whole || !source.whole || target.device != (kind != cudaMemcpyDeviceToHost) ||
        source.device != (kind != cudaMemcpyHostToDevice))
        return cudaErrorInvalidValue;
    if (bytes == 0) return cudaSuccess;
    const bool pageable = (!target.device && !target.pinned) || (!source.device && !source.pinned);
    const auto copy_now = [=] {
        std::memcpy(to, from, bytes);
        checker::copied(to, from, bytes);
    };
    if (!pageable) return c.issue(s, action(copy_now), checker::claim({{from, bytes}}, {{to, bytes}}));
    if (s.capture) {
        s.capture->invalid = true;
        return cudaErrorStreamCaptureUnsupported;
    }
    if (source.device) {  // into pageable memory: returns when it is there
        if (const cudaError_t e = c.issue(s, action(copy_now), nullptr)) return e;
        return c.run(s.last);
    }
    const auto* first = static_cast<const std::byte*>(from);
    c.staged += bytes;
    return c.issue(s, action([&c, to, staging = std::vector<std::byte>(first, first + bytes)] {
                       std::memcpy(to, staging.data(), staging.size());
                       checker::copied(to, staging.data(), staging.size());
                       c.staged -= staging.size();
                   }),
                   nullptr);
}

cudaError_t allocate_in(Context& c, Space space, void** memory, std::size_t bytes) {
    if (c.forbidden_by_capture()) return cudaErrorStreamCaptureUnsupported;
    *memory = nullptr;
    if (bytes == 0) return cudaSuccess;
    *memory = allocate(space, bytes);
    return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t free_in(Context& c, Space space, void* memory) {
    if (c.forbidden_by_capture()) return cudaErrorStreamCaptureUnsupported;
    if (!memory) return cudaSuccess;
    if (const cudaError_t e = c.run_everything()) return e;
    return release(space, memory) ? cudaSuccess : cudaErrorInvalidValue;
}

template <typename T>
cudaError_t destroy(std::set<T*>& live, T* handle) {
    if (!live.erase(handle)) return cudaErrorInvalidResourceHandle;
    delete handle;
    return cudaSuccess;
}

}  // namespace

// --- device ---

void set_devices(int count) {
    devices = count;
}

cudaError_t cudaSetDevice(int device) {
    return api("cudaSetDevice", [&](Context&) {
        if (!is_there(device)) return cudaErrorInvalidDevice;
        current_device = device;
        return cudaSuccess;
    });
}

cudaError_t cudaGetDevice(int* device) {
    return api("cudaGetDevice", [&](Context&) {
        *device = current_device;
        return cudaSuccess;
    });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
    return api("cudaGetDeviceProperties", [&](Context&) {
        if (!is_there(device)) return cudaErrorInvalidDevice;
        *properties = {};
        std::strcpy(properties->name, "emulated CUDA");
        properties->totalGlobalMem = device_memory();
        return cudaSuccess;
    });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
    return api("cudaDeviceGetAttribute", [&](Context&) {
        if (!is_there(device)) return cudaErrorInvalidDevice;
        switch (attribute) {
            case cudaDevAttrMultiProcessorCount:
                *value = emulated_multiprocessors;
                return cudaSuccess;
            case cudaDevAttrL2CacheSize:
                *value = 50 << 20;
                return cudaSuccess;
            case cudaDevAttrComputeCapabilityMajor:
                *value = 9;
                return cudaSuccess;
            case cudaDevAttrComputeCapabilityMinor:
                *value = 0;
                return cudaSuccess;
            case cudaDevAttrCooperativeLaunch:
                *value = 1;
                return cudaSuccess;
            case cudaDevAttrMaxSharedMemoryPerBlockOptin:
                *value = 227 << 10;
                return cudaSuccess;
        }
        return cudaErrorInvalidValue;
    });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
    return api("cudaDeviceGetStreamPriorityRange", [&](Context&) {
        *least = 0;
        *greatest = -5;
        return cudaSuccess;
    });
}

cudaError_t cudaDeviceSynchronize() {
    return api("cudaDeviceSynchronize", [](Context& c) {
        return c.forbidden_by_capture() ? cudaErrorStreamCaptureUnsupported : c.run_everything();
    });
}

cudaError_t cudaDeviceReset() {
    const std::lock_guard lock(context().mutex);
    ++context().calls["cudaDeviceReset"];
    context().reset();
    return cudaSuccess;
}

const char* cudaGetErrorString(cudaError_t error) {
    if (error == cudaErrorLaunchFailure && !context().failure.empty()) return context().failure.c_str();
    const ErrorText* t = text_of(error);
    return t ? t->text : "unrecognized error code";
}

const char* cudaGetErrorName(cudaError_t error) {
    const ErrorText* t = text_of(error);
    return t ? t->name : "unrecognized error code";
}

// --- memory ---

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
    return api("cudaMemGetInfo", [&](Context&) {
        *total = device_memory();
        *free = *total - std::min(*total, device_memory_in_use());
        return cudaSuccess;
    });
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
    return api("cudaMalloc", [&](Context& c) { return allocate_in(c, Space::device, memory, bytes); });
}

cudaError_t cudaFree(void* memory) {
    return api("cudaFree", [&](Context& c) { return free_in(c, Space::device, memory); });
}

cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) {
    return api("cudaHostAlloc", [&](Context& c) { return allocate_in(c, Space::pinned, memory, bytes); });
}

cudaError_t cudaHostGetDevicePointer(void** on_device, void* on_host, unsigned) {
    return api("cudaHostGetDevicePointer", [&](Context&) {
        if (!place_of(on_host, 1).pinned) return cudaErrorInvalidValue;
        *on_device = on_host;
        return cudaSuccess;
    });
}

cudaError_t cudaFreeHost(void* memory) {
    return api("cudaFreeHost", [&](Context& c) { return free_in(c, Space::pinned, memory); });
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
    return api("cudaMemcpy", [&](Context& c) {
        if (c.forbidden_by_capture()) return cudaErrorStreamCaptureUnsupported;
        if (const cudaError_t e = copy(c, to, from, bytes, kind, c.legacy)) return e;
        // From pageable memory it returns when that is staged, within the device it does not wait.
        const bool waits =
            kind != cudaMemcpyDeviceToDevice && (place_of(from, 1).pinned || place_of(to, 1).pinned);
        return waits ? c.run(c.legacy.last) : cudaSuccess;
    });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
    return api("cudaMemcpyAsync", [&](Context& c) {
        StreamState* s = c.stream(stream);
        return s ? copy(c, to, from, bytes, kind, *s) : cudaErrorInvalidResourceHandle;
    });
}

cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
    return api("cudaMemsetAsync", [&](Context& c) {
        StreamState* s = c.stream(stream);
        if (!s) return cudaErrorInvalidResourceHandle;
        const Place target = place_of(to, bytes);
        if (!(target.device || target.pinned) || !target.whole) return cudaErrorInvalidValue;
        return c.issue(*s, action([=] {
            std::memset(to, value, bytes);
            checker::filled(to, bytes);
        }),
                       checker::claim({}, {{to, bytes}}));
    });
}

// --- streams and events ---

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
    return api("cudaStreamCreateWithPriority", [&](Context& c) {
        if (flags != cudaStreamNonBlocking) return cudaErrorNotSupported;
        *stream = *c.streams.insert(new StreamState).first;
        (*stream)->priority = priority;
        return cudaSuccess;
    });
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    return api("cudaStreamDestroy", [&](Context& c) {
        if (c.streams.count(stream) && stream->capture) {
            stream->capture->invalid = true;
            return cudaErrorStreamCaptureUnsupported;
        }
        return destroy(c.streams, stream);  // its work goes on
    });
}

namespace {

// Waits for a stream, or asks after it.
cudaError_t await(Context& c, cudaStream_t handle, cudaError_t (Context::*how)(const NodePtr&)) {
    StreamState* s = c.stream(handle);
    if (!s) return cudaErrorInvalidResourceHandle;
    if (c.forbidden_by_capture()) return cudaErrorStreamCaptureUnsupported;
    if (s->capture) {
        s->capture->invalid = true;
        return cudaErrorStreamCaptureUnsupported;
    }
    return (c.*how)(s->last);
}

cudaError_t await(Context& c, cudaEvent_t event, cudaError_t (Context::*how)(const NodePtr&)) {
    if (!c.events.count(event)) return cudaErrorInvalidResourceHandle;
    if (event->capture) {
        event->capture->invalid = true;
        return cudaErrorCapturedEvent;
    }
    if (c.forbidden_by_capture()) return cudaErrorStreamCaptureUnsupported;
    return (c.*how)(event->node);
}

}  // namespace

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    return api("cudaStreamSynchronize", [&](Context& c) { return await(c, stream, &Context::run); });
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
    return api("cudaStreamQuery", [&](Context& c) { return await(c, stream, &Context::query); });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
    return api("cudaEventCreateWithFlags", [&](Context& c) {
        *event = *c.events.insert(new EventState).first;
        return cudaSuccess;
    });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    return api("cudaEventDestroy", [&](Context& c) { return destroy(c.events, event); });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    return api("cudaEventQuery", [&](Context& c) { return await(c, event, &Context::query); });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    return api("cudaEventSynchronize", [&](Context& c) { return await(c, event, &Context::run); });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
    return api("cudaLaunchHostFunc", [&](Context& c) {
        StreamState* s = c.stream(stream);
        if (!s) return cudaErrorInvalidResourceHandle;
        return c.issue(*s, action([=] { function(data); }), nullptr);
    });
}

// --- kernels ---

cudaError_t launch_grid(const Grid& grid, std::function<void()> body, cudaStream_t stream) {
    return api(grid.cooperative ? "cudaLaunchCooperativeKernel" : "cudaLaunchKernel", [&](Context& c) {
        StreamState* s = c.stream(stream);
        if (!s) return cudaErrorInvalidResourceHandle;
        const Launch launch = check_launch(grid);
        if (launch == Launch::bad_shape) return cudaErrorInvalidConfiguration;
        if (launch == Launch::too_large_to_cooperate) return cudaErrorCooperativeLaunchTooLarge;
        Claim claim = checker::next_piece();
        return c.issue(*s, action([grid, claim, body = std::move(body)] {
            checker::run_piece(claim, grid.name, [&] { run_grid(grid, body); });
        }),
                       claim, grid.cooperative);
    });
}

cudaError_t enqueue(std::function<void()> work, std::vector<Bytes> reads, std::vector<Bytes> writes,
                    cudaStream_t stream) {
    return api("host work", [&](Context& c) {
        StreamState* s = c.stream(stream);
        if (!s) return cudaErrorInvalidResourceHandle;
        Claim claim = checker::next_piece();
        return c.issue(
            *s, action([claim, reads = std::move(reads), writes = std::move(writes), work = std::move(work)] {
                checker::run_host_piece(claim, reads, writes, work);
            }),
            claim);
    });
}

}  // namespace onecycle::emulated
