// What the emulator of blocks promises: CUDA's meaning of barriers and exchanges, and an error with
// a place in it for each misuse that a GPU would answer with wrong numbers or a hang.
#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "device/emulated/block.h"
#include "kernels/cuda.h"
#include "onecycle/error.h"

namespace onecycle::emulated {

namespace {

// The error's text, "" if there was none.
std::string failure_of(const Grid& grid, const std::function<void()>& body) {
    try {
        run_grid(grid, body);
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::device);
        return error.what();
    }
    return "";
}

testing::AssertionResult contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos
               ? testing::AssertionSuccess()
               : testing::AssertionFailure() << "'" << text << "' does not contain '" << part << "'";
}

TEST(EmulatedBlock, every_thread_of_every_block_runs_once_with_its_own_indices) {
    std::vector<int> runs(std::size_t{3} * 2 * 2 * 4 * 3 * 5);
    run_grid({{3, 2, 2}, {4, 3, 5}}, [&] {
        const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
        const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
        ++runs[block * 60 + thread];
    });
    EXPECT_EQ(runs, std::vector<int>(runs.size(), 1));
}

TEST(EmulatedBlock, a_barrier_shows_every_thread_what_all_wrote_before_it) {
    std::vector<unsigned> sums(8 * 96);
    run_grid({8, 96}, [&] {
        ONECYCLE_SHARED(unsigned, values, 96);
        unsigned sum = 0;
        for (unsigned round = 0; round < 3; ++round) {
            values[threadIdx.x] = threadIdx.x * (round + 1);
            __syncthreads();
            sum += std::accumulate(values, values + 96, 0u);
            __syncthreads();
        }
        sums[blockIdx.x * 96 + threadIdx.x] = sum;
    });
    EXPECT_EQ(sums, std::vector<unsigned>(sums.size(), 6 * 95 * 96 / 2));
}

TEST(EmulatedBlock, a_missing_barrier_reads_poison_in_one_of_two_blocks) {
    std::atomic<int> poisoned{0};
    run_grid({2, 64}, [&] {
        ONECYCLE_SHARED(float, values, 64);
        values[threadIdx.x] = 1;
        if (std::isnan(values[63 - threadIdx.x])) ++poisoned;
    });
    EXPECT_GE(poisoned, 32);
}

TEST(EmulatedBlock, shuffles_and_votes_mean_what_cuda_says) {
    std::vector<int> errors(64);
    run_grid({1, 64}, [&] {
        const int lane = static_cast<int>(threadIdx.x % 32);
        const auto expect = [&](bool good) { errors[threadIdx.x] += !good; };
        expect(__shfl_sync(full_warp, lane, 5) == 5);
        expect(__shfl_sync(full_warp, lane, 3, 8) == lane / 8 * 8 + 3);
        expect(__shfl_xor_sync(full_warp, lane, 16) == (lane ^ 16));
        expect(__shfl_down_sync(full_warp, lane, 4) == (lane + 4 < 32 ? lane + 4 : lane));
        expect(__shfl_up_sync(full_warp, lane, 4) == (lane >= 4 ? lane - 4 : lane));
        expect(__ballot_sync(full_warp, lane % 3 == 0) == 0x49249249u);
        expect(__any_sync(full_warp, lane == 7) && !__any_sync(full_warp, false));
        expect(__all_sync(full_warp, lane < 32) && !__all_sync(full_warp, lane < 31));
        expect(warp_sum(lane) == 496);
        expect(block_sum(1.0) == 64);
    });
    EXPECT_EQ(errors, std::vector<int>(64, 0));
}

TEST(EmulatedBlock, parts_of_a_warp_exchange_on_their_own_as_often_as_they_like) {
    std::vector<int> sums(32);
    run_grid({1, 32}, [&] {
        const int lane = static_cast<int>(threadIdx.x);
        const unsigned half = lane < 16 ? 0xFFFFu : 0xFFFF0000u;
        int value = lane;
        // The lower half exchanges one time more before all meet.
        for (int i = 0; i < (lane < 16 ? 3 : 2); ++i) value = __shfl_xor_sync(half, value, 1);
        sums[threadIdx.x] = __shfl_xor_sync(full_warp, value, 16);
    });
    for (int lane = 0; lane < 32; ++lane) {
        const int other = lane ^ 16;
        EXPECT_EQ(sums[static_cast<std::size_t>(lane)], other < 16 ? other ^ 1 : other);
    }
}

TEST(EmulatedBlock, a_barrier_that_some_threads_never_reach_is_named) {
    const std::string error = failure_of({{4}, {64}, 0, false, "k"}, [] {
        if (threadIdx.x != 40) __syncthreads();
    });
    EXPECT_TRUE(contains(error, "k: thread 0 of block"));
    EXPECT_TRUE(contains(error, "waits at the barrier in test_emulated_block.cpp:"));
    EXPECT_TRUE(contains(error, "thread 40 of block"));
    EXPECT_TRUE(contains(error, "has ended"));
}

TEST(EmulatedBlock, threads_at_different_barriers_are_named) {
    const std::string error = failure_of({1, 64}, [] {
        if (threadIdx.x < 32)
            __syncthreads();
        else
            __syncthreads();
    });
    EXPECT_TRUE(contains(error, "thread 32 of block 0 waits at the barrier"));
    EXPECT_TRUE(contains(error, "thread 0 of block 0 waits at the barrier"));
}

TEST(EmulatedBlock, a_barrier_inside_a_part_of_a_warp_is_found_by_the_exchange_of_the_others) {
    const std::string error = failure_of({1, 32}, [] {
        if (threadIdx.x < 8)
            __syncthreads();
        else
            __shfl_sync(full_warp, 1, 0);
    });
    EXPECT_TRUE(contains(error, "waits at the barrier"));
    EXPECT_TRUE(contains(error, "waits in the exchange"));
}

TEST(EmulatedBlock, wrong_masks_of_exchanges_are_named) {
    const auto fails = [](const std::function<void()>& body, const char* why) {
        EXPECT_TRUE(contains(failure_of({1, 32}, body), why));
    };
    fails([] { __shfl_sync(threadIdx.x == 3 ? 0xFFFFFFF7u : full_warp, 1, 0); }, "it is not in its own mask");
    fails([] { __shfl_sync(0xFFFFu << (threadIdx.x / 16 * 16), 1, 20); }, "lane 20 is not in the mask");
    fails([] { __shfl_xor_sync(threadIdx.x < 16 ? full_warp : 0xFFFF0000u, 1, 1); }, "with mask 0xffffffff");
    fails(
        [] {
            if (threadIdx.x != 31) __syncwarp();
        },
        "thread 31 of block 0 has ended");
    // Lanes that come from different lines do not meet, though the masks agree.
    fails(
        [] {
            if (threadIdx.x < 16) __shfl_xor_sync(full_warp, 1, 1);
            __shfl_xor_sync(full_warp, 1, 1);
        },
        "waits in the exchange");
    EXPECT_TRUE(
        contains(failure_of({1, 8}, [] { __shfl_xor_sync(full_warp, 1, 16); }), "is not in the mask"));
    EXPECT_EQ(failure_of({1, 8}, [] { __syncwarp(); }), "");
}

TEST(EmulatedBlock, a_lane_that_ended_before_an_exchange_is_an_error) {
    const std::string error = failure_of({1, 32}, [] {
        if (threadIdx.x == 31) return;
        warp_sum(1);
    });
    EXPECT_NE(error, "");
}

TEST(EmulatedBlock, shared_memory_is_poisoned_for_each_block) {
    std::atomic<int> clean{0};
    run_grid({16, 1, 256}, [&] {
        ONECYCLE_SHARED(float, values, 4);
        ONECYCLE_DYNAMIC_SHARED(float, more);
        for (int i = 0; i < 4; ++i) clean += !std::isnan(values[i]) + !std::isnan(more[i]);
        for (int i = 0; i < 4; ++i) values[i] = more[i] = 1;
    });
    EXPECT_EQ(clean, 0);
}

#if !defined(__SANITIZE_ADDRESS__)  // which ends the process at the write itself
TEST(EmulatedBlock, a_write_beside_a_shared_array_is_named) {
    const auto write = [](std::ptrdiff_t at, bool dynamic) {
        return failure_of({1, 32, 128}, [=] {
            ONECYCLE_SHARED(float, values, 32);
            ONECYCLE_SHARED(float, others, 32);
            ONECYCLE_DYNAMIC_SHARED(float, more);
            others[threadIdx.x] = more[threadIdx.x] = 0;
            if (threadIdx.x == 0) (dynamic ? more : values)[at] = 1;
        });
    };
    EXPECT_TRUE(contains(write(32, false), "beside values"));
    EXPECT_TRUE(contains(write(-1, false), "beside values"));
    EXPECT_TRUE(contains(write(32, true), "beside the dynamic array"));
    EXPECT_EQ(write(31, false), "");
}
#endif

TEST(EmulatedBlock, more_shared_memory_than_a_block_has_is_refused) {
    const std::string error = failure_of({1, 1}, [] {
        ONECYCLE_SHARED(char, values, 228 << 10);
        values[0] = 0;
    });
    EXPECT_TRUE(contains(error, "too much shared memory"));
    EXPECT_TRUE(contains(failure_of({1, 1, 228 << 10}, [] {}), "cannot launch"));
    EXPECT_TRUE(contains(failure_of({1, 1025}, [] {}), "cannot launch"));
}

TEST(EmulatedBlock, a_cooperative_grid_meets_at_its_barrier) {
    std::vector<int> values(16 * 64), sums(16 * 64);
    run_grid({{16}, {64}, 0, true, "k"}, [&] {
        const std::size_t i = blockIdx.x * 64 + threadIdx.x;
        values[i] = 1;
        sync_grid();
        sums[i] = std::accumulate(values.begin(), values.end(), 0);
        sync_grid();
        values[i] = 2;
        sync_grid();
        sums[i] += std::accumulate(values.begin(), values.end(), 0);
    });
    EXPECT_EQ(sums, std::vector<int>(sums.size(), 3 * 16 * 64));
}

TEST(EmulatedBlock, a_grid_barrier_needs_a_cooperative_launch_that_fits_and_every_thread) {
    EXPECT_TRUE(contains(failure_of({2, 32}, [] { sync_grid(); }), "not cooperative"));
    EXPECT_TRUE(contains(failure_of({{65}, {256}, 0, true}, [] {}), "do not all fit at once"));
    EXPECT_EQ(failure_of({{64}, {256}, 0, true}, [] {}), "");
    EXPECT_TRUE(contains(failure_of({{4}, {32}, 0, true},
                                    [] {
                                        if (blockIdx.x != 2) sync_grid();
                                    }),
                         "has ended"));
}

TEST(EmulatedBlock, what_a_kernel_throws_reaches_the_host_and_the_next_grid_is_unharmed) {
    for (int round = 0; round < 3; ++round) {
        EXPECT_THROW(run_grid({64, 128},
                              [] {
                                  __syncthreads();
                                  if (blockIdx.x == 9 && threadIdx.x == 77) throw std::out_of_range("77");
                                  __syncthreads();
                              }),
                     std::out_of_range);
        std::atomic<int> threads{0};
        run_grid({64, 128}, [&] {
            __syncthreads();
            ++threads;
        });
        EXPECT_EQ(threads, 64 * 128);
    }
}

TEST(EmulatedBlock, the_order_of_blocks_follows_the_seed_and_changes_from_launch_to_launch) {
    const auto order = [] {
        std::vector<unsigned> blocks;
        run_grid({32, 1}, [&] { blocks.push_back(blockIdx.x); });  // few threads: on this host thread
        return blocks;
    };
    set_schedule_seed(5);
    const auto first = order(), second = order();
    EXPECT_NE(first, second);
    EXPECT_EQ(std::set<unsigned>(first.begin(), first.end()).size(), 32u);
    set_schedule_seed(5);
    EXPECT_EQ(order(), first);
    set_schedule_seed(6);
    EXPECT_NE(order(), first);
    set_schedule_seed(0);
    std::vector<unsigned> in_order(32);
    std::iota(in_order.begin(), in_order.end(), 0u);
    EXPECT_EQ(order(), in_order);
    set_schedule_seed(1);
}

[[gnu::noinline]] int deep(int n) {
    volatile char frame[1024] = {};
    return n ? deep(n - 1) + frame[n % 1024] : 0;
}

TEST(EmulatedBlockDeath, a_stack_that_overflows_hits_its_guard_page_and_says_so) {
    EXPECT_DEATH(run_grid({1, 1}, [] { deep(1 << 20); }), "more stack than its threads have|stack-overflow");
}

}  // namespace

}  // namespace onecycle::emulated
