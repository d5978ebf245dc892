// What `onecycle profile` promises, by the real binary.
#include <gtest/gtest.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/program.h"

namespace onecycle::test {
namespace {

using Json = nlohmann::json;
using Words = std::vector<std::string>;

Json profile(Words more) {
    Words words = {"profile", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome outcome = Workplace().run(words);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return Json::parse(outcome.out);
}

const Words small = {"--arch", "resnet18", "--size", "32", "--batch-size", "2", "--steps", "1"};

TEST(Profile, a_prediction_is_the_larger_of_moving_and_computing_for_every_step) {
    const Json p = profile({"--predict", "h200", "--batch-size", "256", "--classes", "1000"});
    EXPECT_EQ(p["limits"]["bytes_per_second"], 4.3e12);
    EXPECT_EQ(p["limits"]["flops_per_second"], 790e12);
    EXPECT_TRUE(p["device"].is_null() && p["whole_step"].is_null() && p["seconds"].is_null());
    double sum = 0, bytes = 0;
    for (const Json& step : p["steps"]) {
        const double limit =
            std::max(step["bytes"].get<double>() / 4.3e12, step["flops"].get<double>() / 790e12);
        EXPECT_NEAR(step["limit_seconds"], limit, 1e-12) << step["name"];
        EXPECT_TRUE(step["seconds"].is_null() && step["share"].is_null()) << "nothing was measured";
        sum += limit;
        bytes += step["bytes"].get<double>();
    }
    EXPECT_NEAR(p["limit_seconds"], sum, 1e-9);
    EXPECT_NEAR(p["bytes"], bytes, 1);
    EXPECT_EQ(p["precision"], "bf16");
    std::map<std::string, std::set<std::string>> by;  // operation: what computes it
    for (const Json& step : p["steps"])
        by[step["operation"]].insert(step["implementation"].get<std::string>());
    EXPECT_EQ(by["conv2d"], std::set<std::string>{"cuDNN"}) << "not what the emulator has in its place";
    EXPECT_EQ(by["linear"], std::set<std::string>{"cuBLAS"});
    EXPECT_EQ(by["update_parameters"], std::set<std::string>{"own"});
}

TEST(Profile, several_ranks_are_predicted_with_what_the_wire_and_the_loaders_must_do) {
    const Words words = {"--predict", "h200", "--arch",  "resnet18", "--batch-size",  "64",
                         "--ranks",   "1,8",  "--cores", "8",        "--decode-rate", "300"};
    const Json p = profile(words), scale = p["data_parallel"];
    const Json &one = scale["forecasts"][0], &eight = scale["forecasts"][1];
    EXPECT_TRUE(one["transfers"].empty());
    // Results of the batches, then 11.2 million gradients in buckets of 2 Mi numbers or more, then statistics.
    const Json& sent = eight["transfers"];
    EXPECT_EQ(sent.front()["name"], "gather_results");
    EXPECT_EQ(sent.back()["name"], "batch statistics");
    EXPECT_GE(sent.size(), 4u);
    EXPECT_LE(sent.size(), 2 + 6u);
    EXPECT_EQ(one["efficiency"], 1.0);
    EXPECT_NEAR(one["step_seconds"], p["limit_seconds"], 1e-12);
    EXPECT_LT(eight["efficiency"], 1.0);
    EXPECT_GT(eight["efficiency"], 0.5);
    EXPECT_NEAR(eight["images_per_second"], 8 * 64 / eight["step_seconds"].get<double>(), 1e-3);
    EXPECT_NEAR(scale["inputs"][0]["cores_a_rank"], scale["images_per_second_a_rank"].get<double>() / 300,
                1e-6);
    EXPECT_EQ(scale["cores_a_rank"], 8.0);
    EXPECT_TRUE(profile({"--predict", "h200", "--arch", "resnet18"})["data_parallel"].is_null());

    Words text = words;
    text.insert(text.begin(), "profile");
    const Outcome shown = Workplace().run(text);
    EXPECT_NE(shown.out.find("On several ranks, a prediction"), std::string::npos) << shown.out;
    EXPECT_NE(shown.out.find("resident"), std::string::npos);
}

TEST(Profile, every_step_is_measured_where_it_runs) {
    Words words = small;
    words.insert(words.end(), {"--device", "cpu", "--limits", "20,0.1"});
    const Json p = profile(words);
    for (const Json& step : p["steps"]) {
        EXPECT_GT(step["seconds"], 0.0) << step["name"];
        EXPECT_NEAR(step["share"], step["limit_seconds"].get<double>() / step["seconds"].get<double>(), 1e-9);
    }
    EXPECT_GT(p["whole_step"]["images_per_second"], 0.0);
    EXPECT_EQ(p["whole_step"]["updates"], p["whole_step"]["launches"]) << "each step took effect";
    EXPECT_EQ(p["limits"]["source"], "as given");
}

// Busy processes, as many as there are processors.
class Busy {
  public:
    Busy() {
        for (long i = 0; i < ::sysconf(_SC_NPROCESSORS_ONLN); ++i) {
            const pid_t child = ::fork();
            if (child == 0)
                for (;;) {
                }
            children_.push_back(child);
        }
    }
    ~Busy() {
        for (const pid_t child : children_) {
            ::kill(child, SIGKILL);
            ::waitpid(child, nullptr, 0);
        }
    }

  private:
    std::vector<pid_t> children_;
};

TEST(Profile, under_load_it_says_that_its_limits_cannot_be_trusted) {
    const Busy busy;
    Words words = small;
    words.insert(words.begin(), "profile");
    words.insert(words.end(), {"--device", "cpu", "--by", "operation"});
    const Outcome text = Workplace().run(words);
    EXPECT_NE(text.out.find("warning: other programs used "), std::string::npos) << text.out;
    EXPECT_NE(text.out.find("The limits and shares above cannot be trusted"), std::string::npos) << text.out;
    words.erase(words.begin());
    const Json p = profile(words);
    EXPECT_GT(p["load"]["others"], 0.1);
    EXPECT_FALSE(p["doubts"].empty());
    for (const char* limit : {"bytes_per_second", "flops_per_second"})
        EXPECT_EQ(p["limits"][limit], std::max(p["limits"]["before"][limit].get<double>(),
                                               p["limits"]["after"][limit].get<double>()));
}

TEST(Profile, the_emulators_times_are_not_held_against_a_gpu) {
    Words words = small;
    words.insert(words.end(), {"--device", "emulated"});
    const Json p = profile(words);
    EXPECT_FALSE(p["limits"]["of_this_device"]);
    for (const Json& step : p["steps"]) {
        EXPECT_GT(step["seconds"], 0.0);
        EXPECT_TRUE(step["share"].is_null());
    }
    EXPECT_EQ(p["whole_step"]["calls_a_launch"], 2.0) << "the device, then the graph";
    EXPECT_EQ(p["whole_step"]["blocking_calls_a_launch"], 0.0);
    words.push_back("--no-graph");
    EXPECT_GT(profile(words)["whole_step"]["calls_a_launch"], 10.0) << "piece by piece";
}

TEST(Profile, the_table_has_a_row_a_step_a_shape_or_an_operation) {
    const auto lines = [](const std::string& by) {
        const Outcome outcome = Workplace().run({"profile", "--predict", "h200", "--by", by});
        EXPECT_EQ(outcome.code, 0) << outcome.err;
        return std::count(outcome.out.begin(), outcome.out.end(), '\n');
    };
    EXPECT_GT(lines("step"), lines("shape") + 50);
    EXPECT_GT(lines("shape"), lines("operation") + 20);
}

TEST(Profile, what_cannot_be_meant_is_refused) {
    for (const Words& words :
         {Words{"--predict", "a100"}, Words{"--limits", "fast"}, Words{"--limits", "0,1"},
          Words{"--by", "colour"}, Words{"--steps", "0"}, Words{"--classes", "0"},
          Words{"--predict", "h200", "--device", "cpu"}, Words{"--predict", "h200", "--precision", "fp32"}}) {
        Words all = {"profile"};
        all.insert(all.end(), words.begin(), words.end());
        const Outcome outcome = Workplace().run(all);
        EXPECT_EQ(outcome.code, 2) << words[0] << ' ' << words[1];
        EXPECT_EQ(outcome.err.rfind("error: ", 0), 0u) << outcome.err;
        EXPECT_TRUE(outcome.out.empty());
    }
}

}  // namespace
}  // namespace onecycle::test
