// What `onecycle profile --counts` promises, by the real binary: of a build with shadow memory that
// it counts, of any other that it says how to get one.
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/program.h"

namespace onecycle::test {
namespace {

using Json = nlohmann::json;
using Words = std::vector<std::string>;

Outcome counts(const Words& more) {
    Words words = {"profile", "--counts", "--arch", "resnet18", "--size", "32", "--batch-size", "2"};
    words.insert(words.end(), more.begin(), more.end());
    return Workplace().run(words);
}

#if defined(ONECYCLE_COUNTS)

TEST(ProfileCounts, every_kernel_of_a_step_has_a_row_that_is_the_sum_of_its_launches) {
    const Outcome outcome = counts({"--device", "emulated", "--json"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const Json p = Json::parse(outcome.out);
    std::map<std::string, std::map<std::string, std::uint64_t>> sums;
    const std::set<std::string> figures = {"requests",        "sectors",        "fewest_sectors",
                                           "shared_requests", "bank_conflicts", "bytes"};
    for (const Json& launch : p["launches"]) {
        EXPECT_GT(launch["requests"], 0) << launch["kernel"] << " touches no global memory";
        EXPECT_GE(launch["sectors"], launch["fewest_sectors"]);
        EXPECT_LE(launch["fewest_sectors"].get<double>(),
                  launch["bytes"].get<double>() / 32 + launch["requests"].get<double>());
        EXPECT_GT(launch["declared_bytes"], 0.0) << launch["kernel"];
        std::map<std::string, std::uint64_t>& sum = sums[launch["kernel"]];
        for (const std::string& figure : figures) sum[figure] += launch[figure].get<std::uint64_t>();
        ++sum["launches"];
    }
    EXPECT_EQ(p["kernels"].size(), sums.size());
    std::uint64_t wasted = ~std::uint64_t{0};
    for (const Json& kernel : p["kernels"]) {
        const std::string name = kernel["kernel"];
        for (const auto& [figure, sum] : sums[name]) EXPECT_EQ(kernel[figure], sum) << name << ' ' << figure;
        const std::uint64_t wastes =
            kernel["sectors"].get<std::uint64_t>() - kernel["fewest_sectors"].get<std::uint64_t>();
        EXPECT_LE(wastes, wasted) << name << ": the widest waste comes first";
        wasted = wastes;
    }
    // Those of the input, of the network's layers in both directions, of the loss and of the
    // update.
    for (const char* kernel :
         {"normalize_images", "batch_norm", "batch_norm_pair", "batch_norm_max_pool_apply",
          "global_average_pool", "add_bias", "softmax_cross_entropy", "batch_norm_backward",
          "batch_norm_residual_backward", "batch_norm_max_pool_backward_reduce", "squares",
          "update_parameters", "update_statistics", "commit_step"})
        EXPECT_TRUE(sums.contains(kernel)) << kernel;
}

TEST(ProfileCounts, the_table_has_a_line_a_kernel) {
    const Outcome outcome = counts({"--device", "emulated"});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_NE(outcome.out.find("\nupdate_parameters"), std::string::npos) << outcome.out;
}

TEST(ProfileCounts, other_devices_are_refused) {
    const Outcome outcome = counts({"--device", "cpu"});
    EXPECT_EQ(outcome.code, 2);
    EXPECT_NE(outcome.err.find("add --device emulated"), std::string::npos) << outcome.err;
}

#else

TEST(ProfileCounts, a_build_that_cannot_count_says_which_one_can) {
    const Outcome outcome = counts({"--device", "emulated"});
    EXPECT_EQ(outcome.code, 2);
    EXPECT_TRUE(outcome.out.empty());
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1);
    EXPECT_NE(
        outcome.err.find("cmake --preset shadow && cmake --build --preset shadow --target onecycle_cli"),
        std::string::npos)
        << outcome.err;
}

#endif

}  // namespace
}  // namespace onecycle::test
