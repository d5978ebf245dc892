// The command line's way to a schedule: every policy with its options, against PyTorch and fastai
// run for real.
#include <gtest/gtest.h>

#include <charconv>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/program.h"

namespace onecycle::test {
namespace {

// An option's value as a user would write it.
std::string text_of(const nlohmann::json& value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
}

std::vector<std::string> words_of(const nlohmann::json& c) {
    std::vector<std::string> words = {"plan", "--policy", c.at("policy").get<std::string>()};
    const auto& options = c.at("options");
    for (const auto& [name, value] : options.items()) {
        std::string option = "--" + name;
        std::replace(option.begin(), option.end(), '_', '-');
        if (name == "three_phase") {
            if (value.get<bool>()) words.push_back(option);
        } else if (name != "low" && name != "high") {
            words.insert(words.end(), {option, text_of(value)});
        }
    }
    if (options.contains("low"))
        words.insert(words.end(), {"--momentum", text_of(options["low"]) + ":" + text_of(options["high"])});
    return words;
}

TEST(Plan, prints_what_pytorch_and_fastai_compute) {
    std::ifstream file(ONECYCLE_TEST_DATA "/schedules.json");
    const Workplace place;
    for (const auto& c : nlohmann::json::parse(file)) {
        SCOPED_TRACE(c.at("policy").dump() + c.at("options").dump());
        const Outcome outcome = place.run(words_of(c));
        ASSERT_EQ(outcome.code, 0) << outcome.err;
        std::istringstream lines(outcome.out);
        std::string line;
        std::getline(lines, line);
        EXPECT_EQ(line, "step,lr,momentum");
        const double tolerance = c.at("tolerance");
        for (std::size_t k = 0; k < c.at("lr").size(); ++k) {
            ASSERT_TRUE(std::getline(lines, line));
            std::size_t step = 0;
            double lr = 0, momentum = 0;
            ASSERT_EQ(std::sscanf(line.c_str(), "%zu,%lf,%lf", &step, &lr, &momentum), 3) << line;
            EXPECT_EQ(step, k);
            const double want_lr = c["lr"][k], want_momentum = c["momentum"][k];
            EXPECT_NEAR(lr, want_lr, tolerance * std::abs(want_lr) + 1e-300);
            EXPECT_NEAR(momentum, want_momentum, tolerance);
        }
        EXPECT_FALSE(std::getline(lines, line)) << "one row too many";
    }
}

// By hand: pct 0.25, div 25, final_div 1e4, positions on N-1.
TEST(Plan, one_cycle_by_default_starts_at_a_25th_peaks_once_and_reaches_the_floor) {
    const Workplace place;
    const Outcome outcome = place.run(
        {"plan", "--epochs", "1", "--steps-per-epoch", "5", "--max-lr", "0.1", "--momentum", "0.8:0.9"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    double lr[5], momentum[5];
    ASSERT_EQ(std::sscanf(outcome.out.c_str(),
                          "step,lr,momentum\n0,%lf,%lf\n1,%lf,%lf\n2,%lf,%lf\n3,%lf,%lf\n4,%lf,%lf", &lr[0],
                          &momentum[0], &lr[1], &momentum[1], &lr[2], &momentum[2], &lr[3], &momentum[3],
                          &lr[4], &momentum[4]),
              10);
    EXPECT_DOUBLE_EQ(lr[0], 0.004);
    EXPECT_DOUBLE_EQ(lr[1], 0.1);
    EXPECT_DOUBLE_EQ(lr[4], 0.004 / 1e4);
    EXPECT_DOUBLE_EQ(momentum[0], 0.9);
    EXPECT_DOUBLE_EQ(momentum[1], 0.8);
    EXPECT_DOUBLE_EQ(momentum[4], 0.9);
}

TEST(Plan, the_program_lists_every_phase_of_a_training_step) {
    const Workplace place;
    const Outcome outcome = place.run(
        {"plan", "--program", "--arch", "resnet18", "--size", "32", "--batch-size", "2", "--classes", "3"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    for (const char* part : {"forward", "loss", "backward", "update", "layer4.1.conv2", "fc"})
        EXPECT_NE(outcome.out.find(part), std::string::npos) << part;
}

TEST(Plan, the_program_of_several_ranks_reduces_on_a_branch_of_its_own) {
    const auto expect_in = [](const char* ranks, std::initializer_list<const char*> parts) {
        const Outcome outcome = Workplace().run({"plan", "--program", "--arch", "resnet18", "--size", "32",
                                                 "--batch-size", "2", "--device", "cpu", "--ranks", ranks});
        ASSERT_EQ(outcome.code, 0) << outcome.err;
        for (const char* part : parts)
            EXPECT_NE(outcome.out.find(part), std::string::npos) << ranks << ": " << part;
    };
    expect_in("3", {"2  gather_results | gather_results [", "2  bucket 0 | all_reduce [",
                    "2  batch statistics | all_reduce ["});
    expect_in("16", {"2  gather_results | gather_results in two levels [",
                     "2  bucket 0 | all_reduce in two levels [",
                     "2  batch statistics | all_reduce in two levels ["});
}

TEST(Plan, the_program_is_listed_for_each_device_also_where_it_is_not) {
    const Workplace place;
    const auto program = [&](const std::string& device) {
        const Outcome outcome = place.run({"plan", "--program", "--arch", "resnet18", "--size", "32",
                                           "--batch-size", "2", "--device", device});
        EXPECT_EQ(outcome.code, 0) << outcome.err;
        EXPECT_EQ(outcome.out.rfind("# for " + device, 0), 0u) << outcome.out.substr(0, 80);
        return outcome.out.substr(outcome.out.find('\n'));
    };
    const std::string cpu = program("cpu"), cuda = program("cuda");
    std::string emulated = program("emulated");
    for (const char* library : {"host loops", "cuDNN", "cuBLAS"})
        EXPECT_EQ(cpu.find(library), std::string::npos);
    EXPECT_EQ(cpu.find("bf16"), std::string::npos);
    for (const char* part : {"conv2d [host loops for cuDNN]", "linear [host loops for cuBLAS]", "bf16"})
        EXPECT_NE(emulated.find(part), std::string::npos) << part;
    if (cuda.find("[cuBLAS]") == std::string::npos) GTEST_SKIP() << "a GPU is here: its own plans are listed";
    // The same steps; only what computes the products differs.
    for (std::size_t at; (at = emulated.find("host loops for ")) != std::string::npos;)
        emulated.erase(at, 15);
    EXPECT_EQ(cuda, emulated);
}

}  // namespace
}  // namespace onecycle::test
