// The rules of the CUDA runtime that the emulated one keeps. Each test fails if its rule is dropped.
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "device/emulated/memory.h"
#include "kernels/cuda.h"

namespace onecycle::emulated {

namespace {

__global__ void add_kernel(int* to, int n, int value) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) to[i] += value;
}
__global__ void double_kernel(int* to) {
    *to *= 2;
}
__global__ void throw_kernel() {
    throw std::runtime_error("the kernel's own words");
}
__global__ void cooperative_kernel() {
    sync_grid();
}

constexpr int n = 100;
constexpr std::size_t bytes = n * sizeof(int);

class EmulatedRuntime : public testing::Test {
  protected:
    void SetUp() override {
        cudaDeviceReset();
        cudaGetLastError();
        set_schedule_seed(1);
        for (cudaStream_t* s : {&a, &b})
            ASSERT_EQ(cudaStreamCreateWithPriority(s, cudaStreamNonBlocking, 0), cudaSuccess);
        for (cudaEvent_t* e : {&event, &event2})
            ASSERT_EQ(cudaEventCreateWithFlags(e, cudaEventDisableTiming), cudaSuccess);
        ASSERT_EQ(cudaMalloc(&memory, bytes), cudaSuccess);
        ASSERT_EQ(cudaMemsetAsync(memory, 0, bytes, a), cudaSuccess);
        ASSERT_EQ(cudaStreamSynchronize(a), cudaSuccess);
        ASSERT_EQ(cudaHostAlloc(&host, bytes, 0), cudaSuccess);
        pinned = static_cast<int*>(host);
        pinned[0] = -1;
    }
    void TearDown() override { cudaDeviceReset(); }

    cudaError_t add(int value, cudaStream_t s) {
        return launch_grid(
            {1, 128, 0, false, "add"}, [to = ints(), value] { add_kernel(to, n, value); }, s);
    }
    cudaError_t twice(cudaStream_t s) {
        return launch_grid(
            {1, 1, 0, false, "twice"}, [to = ints()] { double_kernel(to); }, s);
    }
    cudaError_t read(cudaStream_t s) {
        return cudaMemcpyAsync(pinned, memory, bytes, cudaMemcpyDeviceToHost, s);
    }
    int value_on_device() {
        int value = -1;
        EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
        EXPECT_EQ(cudaMemcpyAsync(&value, memory, sizeof value, cudaMemcpyDeviceToHost, a), cudaSuccess);
        return value;
    }
    int* ints() const { return static_cast<int*>(memory); }

    cudaStream_t a = nullptr, b = nullptr;
    cudaEvent_t event = nullptr, event2 = nullptr;
    void *memory = nullptr, *host = nullptr;
    int* pinned = nullptr;
};
using EmulatedRuntimeDeath = EmulatedRuntime;

// --- late work ---

TEST_F(EmulatedRuntime, a_result_is_not_there_before_somebody_waits) {
    add(5, a);
    read(a);
    EXPECT_EQ(pinned[0], -1);
    EXPECT_EQ(cudaStreamSynchronize(a), cudaSuccess);
    EXPECT_EQ(pinned[0], 5);
}

TEST_F(EmulatedRuntime, waiting_for_one_stream_leaves_the_other_late) {
    add(5, a);
    read(a);
    cudaStreamSynchronize(b);
    EXPECT_EQ(pinned[0], -1);
    cudaDeviceSynchronize();
    EXPECT_EQ(pinned[0], 5);
}

TEST_F(EmulatedRuntime, a_query_first_says_not_ready) {
    add(5, a);
    cudaEventRecord(event, a);
    EXPECT_EQ(cudaEventQuery(event), cudaErrorNotReady);
    EXPECT_EQ(cudaEventQuery(event), cudaSuccess);
    add(5, a);
    EXPECT_EQ(cudaStreamQuery(a), cudaErrorNotReady);
    EXPECT_EQ(cudaStreamQuery(a), cudaSuccess);
    EXPECT_EQ(cudaGetLastError(), cudaErrorNotReady);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(EmulatedRuntime, an_event_stands_for_what_was_issued_before_its_last_record) {
    add(1, a);
    cudaEventRecord(event, a);
    add(2, a);
    read(a);
    cudaEventSynchronize(event);
    EXPECT_EQ(pinned[0], -1);
    cudaEventRecord(event, a);
    cudaEventSynchronize(event);
    EXPECT_EQ(pinned[0], 3);
}

TEST_F(EmulatedRuntime, a_stream_waits_for_an_event_of_another) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        set_schedule_seed(seed);
        cudaMemsetAsync(memory, 0, bytes, a);
        add(3, a);
        cudaEventRecord(event, a);
        cudaStreamWaitEvent(b, event);
        twice(b);
        cudaStreamSynchronize(b);
        EXPECT_EQ(value_on_device(), 6);
    }
}

TEST_F(EmulatedRuntime, streams_without_an_event_run_in_either_order) {
    int seen[2] = {};
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        set_schedule_seed(seed);
        cudaMemsetAsync(memory, 0, bytes, a);
        cudaStreamSynchronize(a);
        add(3, a);
        twice(b);
        ++seen[value_on_device() == 6];
    }
    EXPECT_GT(seen[0], 0);
    EXPECT_GT(seen[1], 0);
}

TEST_F(EmulatedRuntime, a_long_queue_is_worked_off) {
    for (int i = 0; i < 20000; ++i) add(1, a);
    read(a);
    cudaStreamSynchronize(a);
    EXPECT_EQ(pinned[0], 20000);
}

TEST_F(EmulatedRuntime, the_default_stream_waits_for_no_other) {
    add(5, a);
    int value = -1;
    cudaMemcpy(&value, memory, sizeof value, cudaMemcpyDeviceToHost);
    EXPECT_EQ(value, 0);
}

TEST_F(EmulatedRuntime, a_host_function_runs_in_its_place_and_may_not_call_the_runtime) {
    static cudaError_t inside;
    static std::atomic<bool> ran;
    ran = false;
    cudaLaunchHostFunc(
        a, [](void*) { inside = cudaStreamSynchronize(nullptr), ran = true; }, nullptr);
    EXPECT_FALSE(ran);
    cudaStreamSynchronize(a);
    EXPECT_TRUE(ran);
    EXPECT_EQ(inside, cudaErrorNotPermitted);
}

// --- memory ---

TEST_F(EmulatedRuntime, pageable_memory_is_staged_when_a_copy_from_it_returns) {
    std::vector<int> source(n, 7);
    cudaMemcpyAsync(memory, source.data(), bytes, cudaMemcpyHostToDevice, a);
    source[0] = 8;
    EXPECT_EQ(value_on_device(), 7);
}

TEST_F(EmulatedRuntime, pinned_memory_is_read_when_the_copy_runs) {
    pinned[0] = 7;
    cudaMemcpyAsync(memory, pinned, bytes, cudaMemcpyHostToDevice, a);
    pinned[0] = 8;
    EXPECT_EQ(value_on_device(), 8);
}

TEST_F(EmulatedRuntime, a_copy_into_pageable_memory_returns_when_it_is_there) {
    add(5, a);
    int value = -1;
    cudaMemcpyAsync(&value, memory, sizeof value, cudaMemcpyDeviceToHost, a);
    EXPECT_EQ(value, 5);
}

TEST_F(EmulatedRuntime, a_copy_from_pageable_memory_by_cudaMemcpy_may_come_after_work_of_other_streams) {
    const int value = 5;
    cudaMemcpy(memory, &value, sizeof value, cudaMemcpyHostToDevice);
    read(a);
    cudaStreamSynchronize(a);
    EXPECT_EQ(pinned[0], 0);
}

TEST_F(EmulatedRuntime, mapped_memory_is_written_by_kernels) {
    void* mapped = nullptr;
    ASSERT_EQ(cudaHostGetDevicePointer(&mapped, host, 0), cudaSuccess);
    pinned[0] = 1;
    launch_grid(
        {1, 1}, [to = static_cast<int*>(mapped)] { double_kernel(to); }, a);
    EXPECT_EQ(pinned[0], 1);
    cudaStreamSynchronize(a);
    EXPECT_EQ(pinned[0], 2);
    EXPECT_EQ(cudaHostGetDevicePointer(&mapped, memory, 0), cudaErrorInvalidValue);
}

TEST_F(EmulatedRuntime, copies_that_leave_an_allocation_or_name_the_wrong_side_are_refused) {
    EXPECT_EQ(cudaMemcpyAsync(pinned, memory, bytes + 1, cudaMemcpyDeviceToHost, a), cudaErrorInvalidValue);
    EXPECT_EQ(cudaMemcpyAsync(memory, pinned, bytes, cudaMemcpyDeviceToDevice, a), cudaErrorInvalidValue);
    EXPECT_EQ(cudaMemcpyAsync(pinned, memory, bytes, cudaMemcpyHostToDevice, a), cudaErrorInvalidValue);
    EXPECT_EQ(cudaMemsetAsync(memory, 0, bytes + 1, a), cudaErrorInvalidValue);
    EXPECT_EQ(cudaFree(ints() + 1), cudaErrorInvalidValue);
    EXPECT_EQ(cudaFree(pinned), cudaErrorInvalidValue);
    EXPECT_EQ(value_on_device(), 0);  // none of them sticks
}

TEST_F(EmulatedRuntime, fresh_device_memory_is_poison_and_256_byte_aligned) {
    for (std::size_t size : {1, 4, 1000, 5000}) {
        void* fresh = nullptr;
        ASSERT_EQ(cudaMalloc(&fresh, size), cudaSuccess);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(fresh) % 256, 0u);
        unsigned char byte = 0;
        cudaMemcpy(&byte, fresh, 1, cudaMemcpyDeviceToHost);
        EXPECT_EQ(byte, 0xFF);
        EXPECT_EQ(cudaFree(fresh), cudaSuccess);
    }
}

TEST_F(EmulatedRuntime, memory_runs_out_where_the_device_ends_and_freeing_gives_it_back) {
    const std::size_t before = device_memory();
    set_device_memory(1 << 20);
    void *fits = nullptr, *too_much = nullptr;
    EXPECT_EQ(cudaMalloc(&fits, 1 << 19), cudaSuccess);
    EXPECT_EQ(cudaMalloc(&too_much, 1 << 19), cudaErrorMemoryAllocation);
    EXPECT_EQ(too_much, nullptr);
    std::size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    EXPECT_EQ(total, std::size_t{1} << 20);
    EXPECT_EQ(free, (std::size_t{1} << 19) - bytes);
    EXPECT_EQ(cudaFree(fits), cudaSuccess);
    EXPECT_EQ(cudaMalloc(&fits, 1 << 19), cudaSuccess);
    set_device_memory(before);
}

TEST_F(EmulatedRuntime, freeing_waits_for_work_that_uses_the_memory) {
    add(5, a);
    read(a);
    EXPECT_EQ(cudaFree(memory), cudaSuccess);
    EXPECT_EQ(pinned[0], 5);
}

TEST_F(EmulatedRuntimeDeath, host_code_that_touches_device_memory_is_caught) {
    EXPECT_DEATH(static_cast<volatile int*>(memory)[4] = 1,
                 "host code touched device memory: byte 16 of an allocation of 400");
    add(5, a);
    cudaDeviceSynchronize();  // opens it, and closes it again
    EXPECT_DEATH(static_cast<void>(static_cast<volatile int*>(memory)[0]), "host code touched device memory");
}

TEST_F(EmulatedRuntimeDeath, freed_memory_is_closed_to_all) {
    cudaFree(memory);
    EXPECT_DEATH(
        {
            add(1, a);
            cudaDeviceSynchronize();
        },
        "a kernel touched device memory that was freed");
    volatile int* const gone = pinned;
    cudaFreeHost(host);
    EXPECT_DEATH(gone[0] = 1, "host code touched pinned memory that was freed");
}

TEST_F(EmulatedRuntimeDeath, a_kernel_that_leaves_its_allocation_is_caught) {
    EXPECT_DEATH(
        {
            launch_grid(
                {1, 128}, [to = ints()] { add_kernel(to + 29, n, 1); }, a);
            cudaDeviceSynchronize();
        },
        "a kernel touched device memory: byte 512 of an allocation of 400|use-after-poison");
}

// --- errors ---

TEST_F(EmulatedRuntime, a_kernel_that_fails_is_told_by_the_call_that_waits_and_sticks) {
    EXPECT_EQ(launch_grid({1, 1, 0, false, "k"}, throw_kernel, a), cudaSuccess);
    add(1, a);
    EXPECT_EQ(cudaStreamSynchronize(a), cudaErrorLaunchFailure);
    EXPECT_NE(std::string(cudaGetErrorString(cudaErrorLaunchFailure)).find("the kernel's own words"),
              std::string::npos);
    void* more = nullptr;
    EXPECT_EQ(cudaMalloc(&more, 1), cudaErrorLaunchFailure);
    EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
    EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
    cudaDeviceReset();
    EXPECT_EQ(cudaMalloc(&more, 1), cudaSuccess);
}

TEST_F(EmulatedRuntime, a_bad_launch_is_refused_at_once_and_does_not_stick) {
    EXPECT_EQ(launch_grid(
                  {1, 1025}, [] {}, a),
              cudaErrorInvalidConfiguration);
    EXPECT_EQ(launch_grid({{65}, {256}, 0, true}, cooperative_kernel, a), cudaErrorCooperativeLaunchTooLarge);
    EXPECT_EQ(cudaGetLastError(), cudaErrorCooperativeLaunchTooLarge);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
    EXPECT_EQ(value_on_device(), 0);
}

TEST_F(EmulatedRuntime, handles_that_are_gone_are_refused) {
    cudaStreamDestroy(b);
    cudaEventDestroy(event);
    EXPECT_EQ(cudaStreamSynchronize(b), cudaErrorInvalidResourceHandle);
    EXPECT_EQ(cudaEventRecord(event, a), cudaErrorInvalidResourceHandle);
    EXPECT_EQ(cudaStreamDestroy(b), cudaErrorInvalidResourceHandle);
}

TEST_F(EmulatedRuntime, work_of_a_destroyed_stream_goes_on) {
    add(5, b);
    cudaStreamDestroy(b);
    EXPECT_EQ(value_on_device(), 5);
}

// --- capture ---

class EmulatedCapture : public EmulatedRuntime {
  protected:
    void begin() { ASSERT_EQ(cudaStreamBeginCapture(a, cudaStreamCaptureModeThreadLocal), cudaSuccess); }
    cudaError_t end() { return cudaStreamEndCapture(a, &graph); }
    void fork() {
        cudaEventRecord(event, a);
        cudaStreamWaitEvent(b, event);
    }
    void join() {
        cudaEventRecord(event2, b);
        cudaStreamWaitEvent(a, event2);
    }
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
};

TEST_F(EmulatedCapture, captured_work_runs_at_each_launch_and_not_before) {
    begin();
    add(1, a);
    read(a);
    ASSERT_EQ(end(), cudaSuccess);
    EXPECT_EQ(value_on_device(), 0);
    ASSERT_EQ(cudaGraphInstantiate(&exec, graph), cudaSuccess);
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);  // the executable graph is a copy
    for (int launch = 1; launch <= 3; ++launch) EXPECT_EQ(cudaGraphLaunch(exec, a), cudaSuccess);
    EXPECT_EQ(pinned[0], -1);
    EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);  // what was launched goes on
    cudaStreamSynchronize(a);
    EXPECT_EQ(pinned[0], 3);
    EXPECT_EQ(cudaGraphLaunch(exec, a), cudaErrorInvalidValue);
}

TEST_F(EmulatedCapture, what_waits_or_allocates_is_forbidden_and_ends_the_capture) {
    cudaEventRecord(event2, b);
    void* more = nullptr;
    int value = 0;
    const std::vector<std::function<cudaError_t()>> calls{
        [&] { return cudaMalloc(&more, 1); },
        [&] { return cudaFree(memory); },
        [&] { return cudaHostAlloc(&more, 1, 0); },
        [&] { return cudaFreeHost(host); },
        [&] { return cudaMemcpy(memory, host, bytes, cudaMemcpyHostToDevice); },
        [&] { return cudaMemcpyAsync(memory, &value, sizeof value, cudaMemcpyHostToDevice, a); },
        [&] { return cudaDeviceSynchronize(); },
        [&] { return cudaStreamSynchronize(a); },
        [&] { return cudaStreamSynchronize(b); },
        [&] { return cudaStreamQuery(a); },
        [&] { return cudaEventSynchronize(event2); },
        [&] { return cudaEventQuery(event2); },
        [&] { return cudaStreamDestroy(a); }};
    for (std::size_t i = 0; i < calls.size(); ++i) {
        begin();
        EXPECT_EQ(calls[i](), cudaErrorStreamCaptureUnsupported) << "call " << i;
        EXPECT_EQ(add(1, a), cudaErrorStreamCaptureInvalidated) << "call " << i;
        EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated) << "call " << i;
        EXPECT_EQ(graph, nullptr);
        EXPECT_EQ(value_on_device(), 0) << "the stream is out of the capture";
    }
}

TEST_F(EmulatedCapture, another_thread_may_allocate_and_wait_meanwhile) {
    begin();
    std::thread([&] {
        void* more = nullptr;
        EXPECT_EQ(cudaMalloc(&more, 1), cudaSuccess);
        EXPECT_EQ(cudaStreamSynchronize(b), cudaSuccess);
        EXPECT_EQ(cudaStreamEndCapture(a, &graph), cudaErrorStreamCaptureWrongThread);
    }).join();
    EXPECT_EQ(end(), cudaSuccess);
}

TEST_F(EmulatedCapture, a_fork_that_is_not_joined_is_an_error) {
    begin();
    fork();
    add(1, b);
    EXPECT_EQ(end(), cudaErrorStreamCaptureUnjoined);
    begin();
    fork();
    add(1, b);
    join();
    add(1, b);  // after the join
    EXPECT_EQ(end(), cudaErrorStreamCaptureUnjoined);
    begin();
    fork();
    add(1, b);
    join();
    EXPECT_EQ(end(), cudaSuccess);
}

TEST_F(EmulatedCapture, only_the_stream_that_began_can_end) {
    begin();
    fork();
    EXPECT_EQ(cudaStreamEndCapture(b, &graph), cudaErrorStreamCaptureUnmatched);
    EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(end(), cudaErrorIllegalState);
    EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal),
              cudaErrorStreamCaptureUnsupported);
}

TEST_F(EmulatedCapture, dependencies_do_not_cross_the_border_of_a_capture) {
    add(1, b);
    cudaEventRecord(event2, b);
    begin();
    EXPECT_EQ(cudaStreamWaitEvent(a, event2), cudaErrorStreamCaptureIsolation);
    EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);
    begin();
    cudaEventRecord(event, a);
    EXPECT_EQ(cudaEventQuery(event), cudaErrorCapturedEvent);
    EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(cudaStreamWaitEvent(b, event), cudaErrorCapturedEvent);
    begin();
    ASSERT_EQ(cudaStreamBeginCapture(b, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    cudaEventRecord(event, a);
    EXPECT_EQ(cudaStreamWaitEvent(b, event), cudaErrorStreamCaptureMerge);
}

TEST_F(EmulatedCapture, replay_keeps_the_edges_and_nothing_but_the_edges) {
    for (bool with_edge : {true, false}) {
        begin();
        cudaMemsetAsync(memory, 0, bytes, a);
        fork();
        add(3, a);
        if (with_edge) {
            cudaEventRecord(event, a);
            cudaStreamWaitEvent(b, event);
        }
        twice(b);
        join();
        ASSERT_EQ(end(), cudaSuccess);
        ASSERT_EQ(cudaGraphInstantiate(&exec, graph), cudaSuccess);
        int right = 0;
        for (std::uint64_t seed = 1; seed <= 20; ++seed) {
            set_schedule_seed(seed);
            cudaGraphLaunch(exec, a);
            right += value_on_device() == 6;
        }
        if (with_edge)
            EXPECT_EQ(right, 20);
        else
            EXPECT_TRUE(right > 0 && right < 20) << right;
    }
}

TEST_F(EmulatedCapture, launches_of_one_graph_never_overlap_even_on_two_streams) {
    begin();
    cudaMemsetAsync(memory, 0, bytes, a);
    add(3, a);
    twice(a);
    ASSERT_EQ(end(), cudaSuccess);
    ASSERT_EQ(cudaGraphInstantiate(&exec, graph), cudaSuccess);
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        set_schedule_seed(seed);
        cudaGraphLaunch(exec, a);
        cudaGraphLaunch(exec, b);
        EXPECT_EQ(value_on_device(), 6);
    }
}

TEST_F(EmulatedCapture, two_cooperative_grids_at_once_are_refused) {
    const auto cooperate = [](cudaStream_t s) {
        EXPECT_EQ(launch_grid({{2}, {32}, 0, true}, cooperative_kernel, s), cudaSuccess);
    };
    begin();
    fork();
    cooperate(a);
    cooperate(b);
    join();
    ASSERT_EQ(end(), cudaSuccess);
    EXPECT_EQ(cudaGraphInstantiate(&exec, graph), cudaErrorNotSupported);
}

}  // namespace

}  // namespace onecycle::emulated
