// What the shadow memory promises: each kind of mistake in a small kernel is found and told, and
// kernels without one pass. Built where ONECYCLE_SHADOW_MEMORY is on; this file is compiled as
// kernels are.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "device/emulated/checker.h"
#include "kernels/cuda.h"
#include "onecycle/error.h"

namespace onecycle::emulated {

namespace {

// A device with memory that tests may ask for; what goes wrong on it is the text of `failure`.
class ShadowMemory : public testing::Test {
  protected:
    ~ShadowMemory() override { cudaDeviceReset(); }

    // Device memory of n numbers, without values.
    template <typename T>
    T* allocate(std::size_t n) {
        void* memory = nullptr;
        EXPECT_EQ(cudaMalloc(&memory, n * sizeof(T)), cudaSuccess);
        return static_cast<T*>(memory);
    }
    template <typename T>
    T* zeros(std::size_t n) {
        T* const memory = allocate<T>(n);
        EXPECT_EQ(cudaMemsetAsync(memory, 0, n * sizeof(T), nullptr), cudaSuccess);
        return memory;
    }

    // Runs the kernel as a grid; "" if all is well.
    static std::string failure_of(const Grid& grid, std::function<void()> kernel) {
        if (launch_grid(grid, std::move(kernel), nullptr) != cudaSuccess) return "no launch";
        return failure();
    }
    static std::string failure() {
        if (cudaDeviceSynchronize() == cudaSuccess) return "";
        std::string text = cudaGetErrorString(cudaErrorLaunchFailure);
        cudaDeviceReset();
        return text;
    }
};

testing::AssertionResult contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos
               ? testing::AssertionSuccess()
               : testing::AssertionFailure() << "'" << text << "' does not contain '" << part << "'";
}

const Grid one_block{{1}, {64}, 256, false, "k"}, one_warp{{1}, {32}, 256, false, "k"},
    four_blocks{{4}, {64}, 256, false, "k"};

TEST_F(ShadowMemory, kernels_without_a_mistake_pass) {
    auto* const x = zeros<float>(256);
    auto* const bytes = zeros<unsigned char>(256);
    auto* const count = zeros<int>(1);
    const auto kernel = [=] {
        const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
        ONECYCLE_SHARED(float, values, 64);
        for (int round = 0; round < 3; ++round) {
            values[threadIdx.x] = x[i] + 1;
            __syncthreads();
            x[i] = values[63 - threadIdx.x] + block_sum(1.0f);
            __syncthreads();
        }
        bytes[i] = 1;  // neighbours of one word belong to different threads
        atomicAdd(count, 1);
    };
    EXPECT_EQ(failure_of(four_blocks, kernel), "");
    EXPECT_EQ(failure_of(four_blocks, kernel), "") << "a kernel comes after the one before";
}

TEST_F(ShadowMemory, a_barrier_that_is_missing_is_a_race_in_shared_memory) {
    const std::string error = failure_of(one_block, [] {
        ONECYCLE_SHARED(float, values, 64);
        values[threadIdx.x] = 1;
        if (threadIdx.x > 0) values[threadIdx.x - 1] = 2;
    });
    EXPECT_TRUE(contains(error, "data race: k: thread 1 of block 0 writes byte 0 of values"));
    EXPECT_TRUE(contains(error, "which thread 0 of block 0 wrote"));
    EXPECT_TRUE(contains(error, "test_shadow_memory+0x"));
}

TEST_F(ShadowMemory, a_read_before_the_write_is_a_race_even_if_no_thread_sees_a_wrong_number) {
    EXPECT_TRUE(contains(failure_of(one_block,
                                    [] {
                                        ONECYCLE_SHARED(float, value, 1);
                                        ONECYCLE_SHARED(float, copies, 64);
                                        if (threadIdx.x == 0) value[0] = 0;
                                        __syncthreads();
                                        copies[threadIdx.x] = value[0];
                                        if (threadIdx.x == 40) value[0] = 0;  // a barrier too few
                                    }),
                         "and nothing orders the two"));
}

TEST_F(ShadowMemory, blocks_that_write_one_place_are_a_race) {
    auto* const x = zeros<float>(64);
    EXPECT_TRUE(contains(failure_of(four_blocks, [=] { x[threadIdx.x] = 1; }), "data race"));
    auto* const y = zeros<float>(64);
    EXPECT_TRUE(contains(failure_of(four_blocks,
                                    [=] {
                                        if (blockIdx.x == 2)
                                            y[threadIdx.x] = 1;
                                        else
                                            (void)*static_cast<volatile float*>(y + threadIdx.x);
                                    }),
                         "data race"));
}

TEST_F(ShadowMemory, atomics_race_with_what_is_plain_only) {
    auto* const count = zeros<int>(1);
    EXPECT_EQ(failure_of(four_blocks, [=] { atomicAdd(count, 1); }), "");
    EXPECT_TRUE(contains(failure_of(four_blocks,
                                    [=] {
                                        if (threadIdx.x == 5)
                                            *count += 1;
                                        else
                                            atomicAdd(count, 1);
                                    }),
                         "data race"));
}

TEST_F(ShadowMemory, syncwarp_orders_memory_and_a_shuffle_does_not) {
    const auto exchange = [](bool sync, unsigned mask) {
        return failure_of(one_warp, [=] {
            ONECYCLE_SHARED(int, values, 32);
            values[threadIdx.x] = 1;
            if (sync)
                __syncwarp(threadIdx.x < 16 ? mask : ~mask ? 0xFFFF0000u : mask);
            else
                __shfl_xor_sync(full_warp, 1, 1);
            values[threadIdx.x ^ 1] = 2;
        });
    };
    EXPECT_EQ(exchange(true, full_warp), "");
    EXPECT_EQ(exchange(true, 0xFFFFu), "") << "neighbours are in one half";
    EXPECT_TRUE(contains(exchange(false, 0), "data race"));
    EXPECT_TRUE(contains(failure_of(one_warp,
                                    [] {
                                        ONECYCLE_SHARED(int, values, 32);
                                        values[threadIdx.x] = 1;
                                        __syncwarp(threadIdx.x < 16 ? 0xFFFFu : 0xFFFF0000u);
                                        values[threadIdx.x ^ 16] = 2;
                                    }),
                         "data race"));
}

TEST_F(ShadowMemory, the_barrier_of_the_grid_orders_blocks) {
    auto* const x = zeros<float>(256);
    auto* const y = zeros<float>(256);
    const auto kernel = [=](bool meet) {
        return [=] {
            const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
            x[i] = 1;
            if (meet)
                sync_grid();
            else
                __syncthreads();
            y[i] = x[255 - i];
        };
    };
    const Grid cooperative{{4}, {64}, 0, true, "k"};
    EXPECT_EQ(failure_of(cooperative, kernel(true)), "");
    EXPECT_TRUE(contains(failure_of(cooperative, kernel(false)), "data race"));
}

TEST_F(ShadowMemory, what_has_no_value_must_not_be_read) {
    auto* const x = allocate<float>(64);
    auto* const y = allocate<float>(64);
    EXPECT_TRUE(contains(failure_of(one_block, [=] { y[threadIdx.x] = x[threadIdx.x]; }),
                         "a read of memory that has no value: k: thread 0 of block 0 reads byte 0 of an "
                         "allocation of 256 bytes"));
    EXPECT_TRUE(contains(failure_of(one_block,
                                    [] {
                                        ONECYCLE_SHARED(float, values, 65);
                                        values[threadIdx.x] = 1;
                                        __syncthreads();
                                        if (threadIdx.x == 3) values[0] = values[64];
                                    }),
                         "no value: k: thread 3 of block 0 reads byte 256 of values (260 bytes"));
}

TEST_F(ShadowMemory, values_travel_with_copies) {
    auto* const x = allocate<float>(64);
    auto* const y = allocate<float>(64);
    auto* const z = zeros<float>(64);
    EXPECT_EQ(failure_of({{1}, {32}}, [=] { x[threadIdx.x] = 1; }), "");
    ASSERT_EQ(cudaMemcpyAsync(y, x, 256, cudaMemcpyDeviceToDevice, nullptr), cudaSuccess);
    EXPECT_EQ(failure_of({{1}, {32}}, [=] { z[threadIdx.x] = y[threadIdx.x]; }), "");
    EXPECT_TRUE(contains(failure_of({{1}, {33}}, [=] { z[threadIdx.x] = y[threadIdx.x]; }), "no value"));
}

TEST_F(ShadowMemory, one_element_too_far_is_out_of_bounds) {
    for (const std::ptrdiff_t at : {-1, 60}) {
        auto* const x = zeros<float>(60);
        const std::string error = failure_of({{1}, {1}, 0, false, "k"}, [=] { x[at] = 1; });
        EXPECT_TRUE(contains(error, "an access out of bounds: k: thread 0 of block 0 writes byte " +
                                        std::to_string(4 * at) + " of an allocation of 240 bytes"));
    }
    EXPECT_TRUE(contains(failure_of(one_block,
                                    [] {
                                        ONECYCLE_SHARED(float, values, 64);
                                        ONECYCLE_SHARED(float, others, 64);
                                        values[threadIdx.x] = others[threadIdx.x] = 0;
                                        __syncthreads();
                                        values[threadIdx.x] = values[threadIdx.x + 1];
                                    }),
                         "an access out of bounds: k: thread 63 of block 0 reads byte 256 of values"));
}

TEST_F(ShadowMemory, memory_that_was_freed_is_out_of_bounds) {
    auto* const x = zeros<float>(64);
    ASSERT_EQ(cudaFree(x), cudaSuccess);
    EXPECT_TRUE(contains(failure_of(one_block, [=] { x[threadIdx.x] = 1; }), "out of bounds"));
}

TEST_F(ShadowMemory, a_barrier_that_not_all_threads_reach_is_named) {
    EXPECT_TRUE(contains(failure_of(one_block,
                                    [] {
                                        if (threadIdx.x < 32) __syncthreads();
                                    }),
                         "waits at the barrier"));
}

// An operation of one piece that declares an input and an output, both of 64 floats in one
// allocation.
class ShadowOperation : public ShadowMemory {
  protected:
    std::string run(const std::function<void()>& kernel, bool whole = true) {
        checker::begin_operation(
            "op", {{"input 0", {in, 256}},
                   {.name = "output 0", .place = {out, 256}, .written = true, .fresh = true, .whole = whole},
                   {.name = "its workspace",
                    .place = {scratch, 256},
                    .written = true,
                    .fresh = true,
                    .scratch = true}});
        EXPECT_EQ(launch_grid(one_block, kernel, nullptr), cudaSuccess);
        checker::end_operation();
        return failure();
    }
    float* const all = zeros<float>(1024);
    float *const in = all, *const out = all + 256, *const scratch = all + 512;
};

TEST_F(ShadowOperation, may_touch_what_it_declares) {
    EXPECT_EQ(run([this] {
                  scratch[threadIdx.x] = in[threadIdx.x];
                  out[threadIdx.x] = scratch[threadIdx.x];
              }),
              "");
}

TEST_F(ShadowOperation, must_not_touch_anything_else) {
    EXPECT_TRUE(
        contains(run([this] { out[threadIdx.x] = in[threadIdx.x + 1]; }),
                 "an access that the operation does not declare: k: thread 63 of block 0 reads byte 256 of "
                 "input 0 (256 bytes) of op"));
}

TEST_F(ShadowOperation, must_not_write_beside_its_output) {
    EXPECT_TRUE(contains(run([this] { out[threadIdx.x + 1] = 0; }, false), "writes byte 256 of output 0"));
}

TEST_F(ShadowOperation, must_not_write_its_input) {
    EXPECT_TRUE(
        contains(run([this] { out[threadIdx.x] = in[threadIdx.x] = 0; }),
                 "an access that the operation does not declare: k: thread 0 of block 0 writes byte 0 of "
                 "input 0"));
}

TEST_F(ShadowOperation, starts_with_outputs_and_workspace_that_have_no_value) {
    EXPECT_TRUE(contains(run([this] { out[threadIdx.x] += 1; }), "reads byte 0 of output 0"));
}

TEST_F(ShadowOperation, must_not_keep_anything_in_its_workspace) {
    EXPECT_EQ(run([this] { scratch[threadIdx.x] = 0; }, false), "");
    EXPECT_TRUE(contains(run([this] { out[threadIdx.x] = scratch[threadIdx.x]; }), "of its workspace"));
}

TEST_F(ShadowOperation, must_write_all_of_its_output) {
    EXPECT_TRUE(
        contains(run([this] {
                     if (threadIdx.x < 63) out[threadIdx.x] = 0;
                 }),
                 "memory that was left without a value: k: op has ended, and nothing was written to byte "
                 "252 of output 0"));
}

TEST_F(ShadowOperation, is_bound_to_the_others_of_a_graph_by_an_edge) {
    for (const bool joined : {true, false}) {
        cudaStream_t streams[2];
        for (cudaStream_t& s : streams)
            ASSERT_EQ(cudaStreamCreateWithPriority(&s, cudaStreamNonBlocking, 0), cudaSuccess);
        cudaEvent_t begin, written, end;
        for (cudaEvent_t* e : {&begin, &written, &end})
            ASSERT_EQ(cudaEventCreateWithFlags(e, 0), cudaSuccess);
        ASSERT_EQ(cudaStreamBeginCapture(streams[0], cudaStreamCaptureModeThreadLocal), cudaSuccess);
        ASSERT_EQ(cudaEventRecord(begin, streams[0]), cudaSuccess);
        ASSERT_EQ(cudaStreamWaitEvent(streams[1], begin), cudaSuccess);
        checker::begin_operation("writer", {{.name = "output 0", .place = {out, 256}, .written = true}});
        ASSERT_EQ(launch_grid(
                      one_block, [this] { out[threadIdx.x] = 0; }, streams[0]),
                  cudaSuccess);
        checker::end_operation();
        ASSERT_EQ(cudaEventRecord(written, streams[0]), cudaSuccess);
        if (joined) {
            ASSERT_EQ(cudaStreamWaitEvent(streams[1], written), cudaSuccess);
        }
        checker::begin_operation("reader", {{"input 0", {out, 256}}});
        ASSERT_EQ(launch_grid(
                      one_block, [] {}, streams[1]),
                  cudaSuccess);
        checker::end_operation();
        ASSERT_EQ(cudaEventRecord(end, streams[1]), cudaSuccess);
        ASSERT_EQ(cudaStreamWaitEvent(streams[0], end), cudaSuccess);
        cudaGraph_t graph;
        cudaGraphExec_t exec = nullptr;
        ASSERT_EQ(cudaStreamEndCapture(streams[0], &graph), cudaSuccess);
        EXPECT_EQ(cudaGraphInstantiate(&exec, graph), joined ? cudaSuccess : cudaErrorLaunchFailure);
        if (joined) continue;
        EXPECT_TRUE(
            contains(failure(),
                     "an edge is missing in a graph: output 0 of writer and input 0 of reader are the same "
                     "memory"));
    }
}

}  // namespace

}  // namespace onecycle::emulated
