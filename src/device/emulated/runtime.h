// The part of the CUDA runtime's interface that we use, emulated. Names, types and meanings are
// CUDA's.
//
// What CUDA leaves open goes the worst way here: work runs only when somebody waits for it or asks
// after it (after it: the first answer is "not yet"), or when very much is waiting; work between
// which nothing orders runs in a random order (set_schedule_seed). A host that only looks at mapped
// memory waits for ever, as it may where a driver holds launches back until somebody asks: ask with
// cudaStreamQuery, which also tells of failures. Host memory is staged as CUDA stages it: pageable
// memory may be changed when a copy from it returns, pinned memory only when the copy is done.
//
// Stricter than CUDA: streams are all non-blocking; captures are thread-local, and forbid every
// call that waits or allocates; two cooperative grids in one graph must be ordered, since both at
// once may never end; work captured from streams of different priorities must keep them
// (cudaGraphInstantiateFlagUseNodePriority): without the flag all of a graph runs at the priority
// of the stream that it is launched into.
// An exception that leaves a kernel is cudaErrorLaunchFailure; cudaGetErrorString then says what it
// said.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "device/emulated/block.h"
#include "device/emulated/checker.h"

namespace onecycle::emulated {

enum cudaError_t : int {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInvalidDevice = 101,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorIllegalState = 401,
    cudaErrorNotReady = 600,
    cudaErrorLaunchFailure = 719,
    cudaErrorCooperativeLaunchTooLarge = 720,
    cudaErrorNotPermitted = 800,
    cudaErrorNotSupported = 801,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901,
    cudaErrorStreamCaptureMerge = 902,
    cudaErrorStreamCaptureUnmatched = 903,
    cudaErrorStreamCaptureUnjoined = 904,
    cudaErrorStreamCaptureIsolation = 905,
    cudaErrorCapturedEvent = 907,
    cudaErrorStreamCaptureWrongThread = 908,
};
enum cudaMemcpyKind : int {
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost = 2,
    cudaMemcpyDeviceToDevice = 3
};
enum cudaStreamCaptureMode : int {
    cudaStreamCaptureModeGlobal = 0,
    cudaStreamCaptureModeThreadLocal = 1,
    cudaStreamCaptureModeRelaxed = 2
};
enum cudaDeviceAttr : int {
    cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrL2CacheSize = 38,
    cudaDevAttrComputeCapabilityMajor = 75,
    cudaDevAttrComputeCapabilityMinor = 76,
    cudaDevAttrCooperativeLaunch = 95,
    cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};
inline constexpr unsigned cudaHostAllocMapped = 2;
inline constexpr unsigned cudaStreamNonBlocking = 1;
inline constexpr unsigned cudaEventDisableTiming = 2;
inline constexpr unsigned long long cudaGraphInstantiateFlagUseNodePriority = 8;

struct cudaDeviceProp {
    char name[256];
    std::size_t totalGlobalMem;
};

struct StreamState;
struct EventState;
struct GraphState;
struct GraphExecState;
using cudaStream_t = StreamState*;  // null: the legacy default stream, which no other stream waits for
using cudaEvent_t = EventState*;
using cudaGraph_t = GraphState*;
using cudaGraphExec_t = GraphExecState*;
using cudaHostFn_t = void (*)(void*);

// --- device ---
cudaError_t cudaSetDevice(int device);  // this thread's choice
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaDeviceReset();  // also takes back a failure: no new process is needed
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();
const char* cudaGetErrorString(cudaError_t error);
const char* cudaGetErrorName(cudaError_t error);

// --- memory ---
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total);
cudaError_t cudaMalloc(void** memory, std::size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned flags);
cudaError_t cudaHostGetDevicePointer(void** on_device, void* on_host, unsigned flags);
cudaError_t cudaFreeHost(void* memory);
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream);

// --- streams and events ---
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data);

// --- graphs ---
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);

// --- kernels ---
// cudaLaunchKernel and cudaLaunchCooperativeKernel: `body` runs once for each thread.
cudaError_t launch_grid(const Grid& grid, std::function<void()> body, cudaStream_t stream);
template <typename Kernel>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Kernel, int threads,
                                                          std::size_t shared) {
    *blocks = resident_blocks(static_cast<unsigned>(threads), shared);
    return cudaSuccess;
}

// --- not CUDA's ---
// How often each function of the runtime was called by this process.
std::map<std::string, std::uint64_t> runtime_calls();
// How many devices there are: one, unless a test wants more. They share their memory.
void set_devices(int count);

// Puts work of the host that touches these places of memory on a stream, as launch_grid does with a
// kernel.
cudaError_t enqueue(std::function<void()> work, std::vector<Bytes> reads, std::vector<Bytes> writes,
                    cudaStream_t stream);

}  // namespace onecycle::emulated
