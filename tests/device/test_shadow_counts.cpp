// What the counts of `profile --counts` promise, on kernels whose answers are known. Built where
// ONECYCLE_SHADOW_MEMORY is on; this file is compiled as kernels are.
#include <gtest/gtest.h>

#include <functional>

#include "device/kernel_counts.h"
#include "kernels/cuda.h"

namespace onecycle::emulated {

namespace {

class ShadowCounts : public testing::Test {
  protected:
    ~ShadowCounts() override { cudaDeviceReset(); }

    // Device memory of n zeros.
    template <typename T>
    T* zeros(std::size_t n) {
        void* memory = nullptr;
        EXPECT_EQ(cudaMalloc(&memory, n * sizeof(T)), cudaSuccess);
        EXPECT_EQ(cudaMemsetAsync(memory, 0, n * sizeof(T), nullptr), cudaSuccess);
        return static_cast<T*>(memory);
    }

    static LaunchCounts counts_of(const Grid& grid, std::function<void()> kernel) {
        LaunchCounter counter;
        EXPECT_EQ(launch_grid(grid, std::move(kernel), nullptr), cudaSuccess);
        EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess) << cudaGetErrorString(cudaErrorLaunchFailure);
        const std::vector<LaunchCounts> launches = counter.take();
        EXPECT_EQ(launches.size(), 1u);
        return launches.empty() ? LaunchCounts{} : launches[0];
    }
};

const Grid one_warp{{1}, {32}, 8192, false, "k"}, two_blocks{{2}, {96}, 0, false, "k"};

// A read whose value nobody needs, which the compiler keeps.
template <typename T>
void read(const T* at) {
    (void)*static_cast<const volatile T*>(at);
}

TEST_F(ShadowCounts, lanes_side_by_side_ask_for_the_fewest_sectors) {
    auto* const x = zeros<float>(256);
    const LaunchCounts c = counts_of(one_warp, [=] { read(x + threadIdx.x); });
    EXPECT_EQ(c.kernel, "k");
    EXPECT_EQ(c.blocks, 1);
    EXPECT_EQ(c.threads, 32);
    EXPECT_EQ(c.requests, 1u);
    EXPECT_EQ(c.sectors, 4u);
    EXPECT_EQ(c.fewest_sectors, 4u);
    EXPECT_EQ(c.bytes, 128u);
    EXPECT_EQ(c.shared_requests, 0u);
}

TEST_F(ShadowCounts, a_stride_of_eight_floats_asks_for_a_sector_a_lane) {
    auto* const x = zeros<float>(256);
    const LaunchCounts c = counts_of(one_warp, [=] { x[8 * threadIdx.x] = 1; });
    EXPECT_EQ(c.sectors, 32u);
    EXPECT_EQ(c.fewest_sectors, 4u);
}

TEST_F(ShadowCounts, a_start_beside_the_sector_asks_for_one_more) {
    auto* const x = zeros<float>(256);
    const LaunchCounts c = counts_of(one_warp, [=] { read(x + threadIdx.x + 1); });
    EXPECT_EQ(c.sectors, 5u);
    EXPECT_EQ(c.fewest_sectors, 4u);
}

TEST_F(ShadowCounts, sixteen_bytes_a_lane_are_one_request) {
    auto* const x = zeros<float>(256);
    const LaunchCounts c = counts_of(one_warp, [=] {
        float* const mine = x + 4 * threadIdx.x;
        Vec<float> v = load_vec(mine);
        v.v[0] += v.v[3];
        store_vec(mine, v);
    });
    EXPECT_EQ(c.requests, 2u) << "a load and a store";
    EXPECT_EQ(c.sectors, 2 * 16u);
    EXPECT_EQ(c.fewest_sectors, 2 * 16u);
    EXPECT_EQ(c.bytes, 2 * 512u);
}

TEST_F(ShadowCounts, lanes_that_ask_for_the_same_bytes_ask_once) {
    auto* const x = zeros<float>(256);
    const LaunchCounts c = counts_of(one_warp, [=] { read(x + 9); });
    EXPECT_EQ(c.sectors, 1u);
    EXPECT_EQ(c.fewest_sectors, 1u);
    EXPECT_EQ(c.bytes, 4u);
}

TEST_F(ShadowCounts, requests_are_those_of_each_warp_of_each_block_in_each_round) {
    auto* const x = zeros<float>(4 * 192);
    const LaunchCounts c = counts_of(two_blocks, [=] {
        for (unsigned i = blockIdx.x * 96 + threadIdx.x; i < 4 * 192; i += 192) x[i] = 1;
    });
    EXPECT_EQ(c.requests, 4 * 6u);
    EXPECT_EQ(c.sectors, 4 * 6 * 4u);
}

TEST_F(ShadowCounts, after_a_barrier_or_an_exchange_lanes_are_together_again) {
    auto* const x = zeros<float>(64);
    const auto kernel = [=](bool meet) {
        for (unsigned round = 0; round < 2; ++round) {
            if (round || threadIdx.x < 16) read(x + 32 * round + threadIdx.x);
            if (meet) __syncwarp();
        }
    };
    EXPECT_EQ(counts_of(one_warp, [=] { kernel(true); }).requests, 2u);
    EXPECT_EQ(counts_of(one_warp, [=] { kernel(true); }).sectors, 2 + 4u);
    // Where nothing brings them together, the first access of the upper lanes is taken for the
    // first of the others. The page on the emulator says so.
    EXPECT_EQ(counts_of(one_warp, [=] { kernel(false); }).requests, 2u);
}

TEST_F(ShadowCounts, a_column_of_a_tile_is_one_bank_and_a_padded_one_is_all_of_them) {
    const auto column = [](unsigned pitch) {
        return [=] {
            ONECYCLE_DYNAMIC_SHARED(float, tile);
            tile[threadIdx.x * pitch] = 1;
        };
    };
    const LaunchCounts full = counts_of(one_warp, column(32)), padded = counts_of(one_warp, column(33));
    EXPECT_EQ(full.shared_requests, 1u);
    EXPECT_EQ(full.bank_conflicts, 31u);
    EXPECT_EQ(padded.shared_requests, 1u);
    EXPECT_EQ(padded.bank_conflicts, 0u);
    EXPECT_EQ(full.requests, 0u) << "shared memory has no sectors";
}

TEST_F(ShadowCounts, lanes_share_a_word_of_shared_memory) {
    const LaunchCounts c = counts_of(one_warp, [] {
        ONECYCLE_DYNAMIC_SHARED(float, values);
        if (threadIdx.x == 0) values[5] = 1;
        __syncthreads();
        read(values + 5);
        ONECYCLE_SHARED(unsigned char, bytes, 32);
        bytes[threadIdx.x] = 1;
    });
    EXPECT_EQ(c.shared_requests, 3u);
    EXPECT_EQ(c.bank_conflicts, 0u);
}

TEST_F(ShadowCounts, wide_accesses_to_shared_memory_are_served_in_parts_of_the_warp) {
    const auto stores = [](unsigned pitch) {
        return [=] {
            ONECYCLE_DYNAMIC_SHARED(float, tile);
            store_vec(tile + threadIdx.x * pitch, Vec<float>{});
        };
    };
    EXPECT_EQ(counts_of(one_warp, stores(4)).bank_conflicts, 0u);
    EXPECT_EQ(counts_of(one_warp, stores(32)).bank_conflicts, 4 * 7u) << "eight lanes at a time, one bank";
}

TEST_F(ShadowCounts, atomics_to_one_word_wait_for_each_other) {
    const LaunchCounts c = counts_of(one_warp, [] {
        ONECYCLE_DYNAMIC_SHARED(int, sum);
        if (threadIdx.x == 0) sum[0] = 0;
        __syncthreads();
        atomicAdd(sum, 1);
    });
    EXPECT_EQ(c.bank_conflicts, 31u);
}

TEST_F(ShadowCounts, nothing_is_counted_unasked) {
    auto* const x = zeros<float>(32);
    EXPECT_EQ(launch_grid(
                  one_warp, [=] { x[threadIdx.x] = 1; }, nullptr),
              cudaSuccess);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    LaunchCounter counter;
    EXPECT_TRUE(counter.take().empty());
}

}  // namespace

}  // namespace onecycle::emulated
