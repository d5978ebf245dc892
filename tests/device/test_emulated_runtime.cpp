// The rules of the CUDA runtime that the emulated one keeps. Each test fails if its rule is
// dropped.
#include <atomic>
#include <vector>

#include "device/emulated_runtime.h"

namespace onecycle::emulated {

namespace {

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

TEST_F(EmulatedRuntime, a_cooperative_grid_must_fit_in_the_room_that_is_left) {
    const auto fitting = [] {
        int blocks = -1;
        EXPECT_EQ(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, cooperative_kernel, 256, 0),
                  cudaSuccess);
        return blocks;
    };
    EXPECT_EQ(fitting(), 8);
    limit_resident_blocks(1);
    EXPECT_EQ(fitting(), 1);
    const unsigned most = emulated_multiprocessors;
    EXPECT_EQ(launch_grid({{most}, {256}, 0, true}, cooperative_kernel, a), cudaSuccess);
    EXPECT_EQ(launch_grid({{most + 1}, {256}, 0, true}, cooperative_kernel, a),
              cudaErrorCooperativeLaunchTooLarge);
    limit_resident_blocks(0);
    EXPECT_EQ(fitting(), 0);
    EXPECT_EQ(launch_grid({{1}, {256}, 0, true}, cooperative_kernel, a), cudaErrorCooperativeLaunchTooLarge);
    limit_resident_blocks(no_limit_of_blocks);
    EXPECT_EQ(cudaGetLastError(), cudaErrorCooperativeLaunchTooLarge);
    EXPECT_EQ(cudaStreamSynchronize(a), cudaSuccess);
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

}  // namespace

}  // namespace onecycle::emulated
