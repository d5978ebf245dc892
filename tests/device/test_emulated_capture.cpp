// The rules of stream capture and of graphs that the emulated runtime keeps. Each test fails if its
// rule is dropped.
#include <thread>
#include <vector>

#include "device/emulated_runtime.h"

namespace onecycle::emulated {

namespace {

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

TEST_F(EmulatedCapture, branches_of_several_priorities_are_refused_unless_they_keep_them) {
    ASSERT_EQ(cudaStreamDestroy(b), cudaSuccess);
    ASSERT_EQ(cudaStreamCreateWithPriority(&b, cudaStreamNonBlocking, -1), cudaSuccess);
    begin();
    fork();
    add(1, a);
    add(1, b);
    join();
    ASSERT_EQ(end(), cudaSuccess);
    EXPECT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaErrorNotSupported);
    EXPECT_EQ(cudaGraphInstantiate(&exec, graph, 16), cudaErrorInvalidValue);
    EXPECT_EQ(cudaGraphInstantiate(&exec, graph, cudaGraphInstantiateFlagUseNodePriority), cudaSuccess);
}

}  // namespace

}  // namespace onecycle::emulated
