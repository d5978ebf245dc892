// The search for the fastest plan, with plans that are kernels on the emulated device.
#include <gtest/gtest.h>

#include <chrono>
#include <stdexcept>
#include <thread>

#include "device/cuda/runtime.h"
#include "ops/cuda/plan_search.h"
#include "temporary_folder.h"

namespace onecycle::testing {

namespace {

using namespace emulated;

std::vector<std::string> plans_of(const std::vector<std::pair<int, int>>& engines_and_counts) {
    std::vector<std::string> plans;
    for (const auto& [engine, count] : engines_and_counts)
        for (int i = 0; i < count; ++i)
            plans.push_back("engine " + std::to_string(engine) + ": 2=" + std::to_string(i));
    return plans;
}

PlanTrials trials(std::function<std::optional<double>(std::size_t, double)> time) {
    return {.time = std::move(time), .device_works = [] { return true; }};
}

TEST(PlanSearch, keeps_the_order_of_cudnn_but_lets_other_engines_have_a_turn) {
    const auto plans = plans_of({{62, 14}, {45, 1}, {22, 2}, {62, 3}});
    const std::vector<std::size_t> order = order_of_trials(plans);
    ASSERT_EQ(order.size(), plans.size());
    const std::vector<std::size_t> ten(order.begin(), order.begin() + 10);
    EXPECT_EQ(ten, (std::vector<std::size_t>{0, 1, 2, 3, 4, 5, 6, 14, 15, 16}));
    EXPECT_EQ(order[10], 7u) << "then the others of the first engine";
}

TEST(PlanSearch, takes_the_fastest_of_the_first_ten_that_run) {
    const auto plans = plans_of({{1, 6}, {2, 6}, {3, 30}});
    std::vector<std::size_t> tried;
    const PlanSearch search = search_plans(
        "a convolution", plans, trials([&](std::size_t i, double) {
            tried.push_back(i);
            return i == 3 ? std::nullopt : std::optional(i == 7 ? 1.0 : 5.0 - 0.01 * static_cast<double>(i));
        }));
    EXPECT_EQ(search.best, 7u);
    EXPECT_EQ(search.timed.size(), 10u);
    EXPECT_EQ(tried.size(), 11u) << "one could not be made";
    EXPECT_EQ(search.failed, 0u);
}

TEST(PlanSearch, begins_no_further_plan_when_its_time_is_over_and_one_has_run) {
    int begun = 0;
    PlanTrials slow = trials([&](std::size_t i, double) -> std::optional<double> {
        ++begun;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return i == 0 ? std::nullopt : std::optional(1.0);
    });
    const auto plans = plans_of({{1, 5}, {2, 5}});
    slow.seconds = 0;
    EXPECT_EQ(search_plans("a convolution", plans, slow).best, 1u);
    EXPECT_EQ(begun, 2);
    slow.seconds = 3600;
    EXPECT_EQ(search_plans("a convolution", plans, slow).timed.size(), 9u);
}

TEST(PlanSearch, a_plan_that_is_refused_gives_way_to_the_next) {
    const PlanSearch search =
        search_plans("a convolution", plans_of({{1, 1}, {2, 1}, {3, 1}}),
                     trials([](std::size_t i, double) -> std::optional<double> {
                         if (i < 2)
                             throw Error(ErrorKind::device, "cuDNN failed", "execute", "NOT_SUPPORTED");
                         return 1.0;
                     }));
    EXPECT_EQ(search.best, 2u);
    EXPECT_EQ(search.failed, 2u);
    EXPECT_NE(search.first_failure.find("engine 1: 2=0"), std::string::npos) << search.first_failure;
    EXPECT_NE(search.first_failure.find("NOT_SUPPORTED"), std::string::npos) << search.first_failure;
}

// A kernel that fails leaves an error behind that every later call gets.
TEST(PlanSearch, a_plan_that_breaks_the_device_ends_the_search_and_is_named) {
    cudaDeviceReset();
    cudaStream_t stream = nullptr;
    ASSERT_EQ(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, 0), cudaSuccess);
    int begun = 0;
    const PlanTrials on_device{.time = [&](std::size_t i, double) -> std::optional<double> {
                                   ++begun;
                                   check(launch_grid(
                                             {1, 1, 0, false, "plan"},
                                             [i] {
                                                 if (i == 1) throw std::runtime_error("illegal address");
                                             },
                                             stream),
                                         "plan");
                                   check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
                                   return 1.0;
                               },
                               .device_works =
                                   [&] {
                                       cudaGetLastError();
                                       return cudaStreamSynchronize(stream) == cudaSuccess;
                                   }};
    const auto plans = plans_of({{7, 1}, {8, 1}, {9, 1}});
    try {
        search_plans("forward bf16", plans, on_device);
        ADD_FAILURE() << "the device is lost";
    } catch (const DeviceLost& lost) {
        EXPECT_EQ(lost.plan(), "engine 8: 2=0");
        const std::string line = lost.what();
        EXPECT_NE(line.find("engine 8: 2=0 of forward bf16"), std::string::npos) << line;
        EXPECT_NE(line.find("illegal address"), std::string::npos) << line;
        EXPECT_EQ(line.find('\n'), std::string::npos);
    }
    EXPECT_EQ(begun, 2);
    cudaDeviceReset();
}

TEST(PlanSearch, a_plan_that_broke_the_device_is_remembered_beside_the_others) {
    const test::TemporaryFolder folder;
    const PlanCache cache(folder / "plans.json");
    EXPECT_TRUE(cache.broken("a").empty());
    cache.add("a", {{"engine 1:", 1}});
    cache.add_broken("a", "engine 8: 2=0");
    cache.add_broken("a", "engine 9:");
    EXPECT_EQ(cache.broken("a"), (std::vector<std::string>{"engine 8: 2=0", "engine 9:"}));
    EXPECT_TRUE(cache.broken("b").empty());
    EXPECT_EQ(cache.find("a"), "engine 1:");
}

}  // namespace

}  // namespace onecycle::testing
