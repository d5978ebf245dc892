// `onecycle finetune` with the real binary: from a file of weights to a run that eval reads.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/program.h"

namespace onecycle::test {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

class Finetune : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        place_ = new Workplace;
        ASSERT_EQ(place_->run({"demo-data", "data", "--classes", "3", "--images", "20", "--size", "40"}).code,
                  0);
        const Outcome trained = place_->run({"train", "data", "--arch", "resnet18", "--size", "32",
                                             "--batch-size", "8", "--epochs", "1", "--max-lr", "0.02",
                                             "--stem", "small", "--mean", "0.5,0.5,0.5", "--out", "before"});
        ASSERT_EQ(trained.code, 0) << trained.err;
    }
    static void TearDownTestSuite() { delete place_; }

    static Outcome finetune(const Words& more) {
        Words words = {"finetune", "data",     "--size", "32",       "--batch-size",
                       "8",        "--epochs", "1",      "--max-lr", "2e-3"};
        words.insert(words.end(), more.begin(), more.end());
        return place_->run(words);
    }

    static std::vector<std::string> lines_of(const std::string& text) {
        std::vector<std::string> lines;
        std::istringstream stream(text);
        for (std::string line; std::getline(stream, line);) lines.push_back(line);
        return lines;
    }

    static inline Workplace* place_ = nullptr;
};

TEST_F(Finetune, without_init_says_where_weights_are_and_what_to_type) {
    const Outcome asked = place_->run({"finetune", "data"});
    EXPECT_EQ(asked.code, 2);
    for (const char* part :
         {"https://download.pytorch.org/models/resnet34-b627a593.pth", "SHA-256 begins with b627a593",
          "onecycle finetune data --init resnet34-b627a593.pth", "error: "})
        EXPECT_NE(asked.err.find(part), std::string::npos) << part << " in " << asked.err;
    EXPECT_FALSE(std::filesystem::exists(*place_ / "runs"));
    EXPECT_NE(place_->run({"finetune", "data", "--arch", "resnet18"}).err.find("resnet18-f37072fd.pth"),
              std::string::npos);
    const Outcome spaced = place_->run({"finetune", "it's mine/photos"});
    EXPECT_NE(spaced.err.find(R"(onecycle finetune 'it'\''s mine/photos' --init)"), std::string::npos)
        << "to be pasted into a shell: " << spaced.err;
}

TEST_F(Finetune, takes_network_and_conventions_from_the_file_and_runs_both_stages) {
    const Outcome tuned = finetune({"--init", "before", "--out", "after", "--json"});
    ASSERT_EQ(tuned.code, 0) << tuned.err;
    const json result = json::parse(tuned.out);
    EXPECT_EQ(result["epochs"].size(), 2u);
    EXPECT_EQ(result["max_lr"], 2e-3);
    const json config = json::parse(place_->read("after/config.json"));
    EXPECT_EQ(config["arch"], "resnet18");
    EXPECT_EQ(config["stem"], "small");
    EXPECT_EQ(config["mean"], (std::vector<double>{0.5, 0.5, 0.5}));
    EXPECT_EQ(config["head"], "fastai");
    EXPECT_EQ(config["optimizer"], "adamw");
    EXPECT_EQ(config["freeze_epochs"], 1);
    EXPECT_EQ(config["lr_mult"], 100);
    const auto lines = lines_of(place_->read("after/steps.csv"));
    ASSERT_EQ(lines.size(), 13u);
    EXPECT_EQ(lines[0], "step,lr,momentum,loss,lr_0,lr_1,lr_2");
    // fastai: a 25th of 2e-3 for the head and a tenth of that; then a fifth of 1e-3, 1e-4 and 1e-5.
    const auto cell = [&](std::size_t line, int column) {
        std::istringstream cells(lines[line]);
        std::string text;
        for (int c = 0; c <= column; ++c) std::getline(cells, text, ',');
        return std::stod(text);
    };
    EXPECT_NEAR(cell(1, 6), 8e-5, 1e-15);
    EXPECT_NEAR(cell(1, 4), 8e-6, 1e-15);
    EXPECT_NEAR(cell(7, 6), 2e-4, 1e-15);
    EXPECT_NEAR(cell(7, 5), 2e-5, 1e-15);
    EXPECT_NEAR(cell(7, 4), 2e-6, 1e-15);
    EXPECT_EQ(place_->run({"eval", "data", "--model", "after"}).code, 0);
    const Outcome info = place_->run({"info", "after", "--json"});
    EXPECT_NE(info.out.find("head.fc2.weight"), std::string::npos);
    EXPECT_EQ(json::parse(info.out)["parameters"], 11'697'728)
        << "the network's, without the moments beside them";
}

TEST_F(Finetune, one_cycle_only_is_one_frozen_stage_at_a_hundredth) {
    const Outcome tuned = place_->run({"finetune", "data", "--init", "before", "--one-cycle-only", "--size",
                                       "32", "--batch-size", "8", "--epochs", "2", "--out", "story"});
    ASSERT_EQ(tuned.code, 0) << tuned.err;
    const json config = json::parse(place_->read("story/config.json"));
    EXPECT_EQ(config["max_lr"], 1e-2);
    EXPECT_EQ(config["freeze"], "body");
    EXPECT_EQ(config["freeze_epochs"], 0);
    EXPECT_EQ(config["policy"], "onecycle:fastai") << "its fit_one_cycle, step by step";
    const auto lines = lines_of(place_->read("story/steps.csv"));
    ASSERT_EQ(lines.size(), 13u);
    EXPECT_EQ(lines[0], "step,lr,momentum,loss,lr_0,lr_1,lr_2") << "equal here, and told all the same";
    EXPECT_EQ(lines[1].substr(0, 9), "0,0.0004,");
    EXPECT_TRUE(lines[1].ends_with(",0.0004,0.0004,0.0004")) << lines[1];
}

TEST_F(Finetune, one_cycle_only_is_heard_beside_a_config_and_refused_by_a_run_that_has_its_plan) {
    ASSERT_EQ(finetune({"--init", "before", "--out", "staged"}).code, 0);
    const Outcome again =
        place_->run({"finetune", "--config", "staged/config.json", "--one-cycle-only", "--out", "flat"});
    ASSERT_EQ(again.code, 0) << again.err;
    const json config = json::parse(place_->read("flat/config.json"));
    EXPECT_EQ(config["policy"], "onecycle:fastai");
    EXPECT_EQ(config["max_lr"], 1e-2);
    EXPECT_EQ(config["freeze"], "body");
    EXPECT_EQ(config["freeze_epochs"], 0);
    EXPECT_EQ(config["epochs"], 1) << "the config's";
    const Outcome resumed = place_->run({"finetune", "--resume", "staged", "--one-cycle-only"});
    EXPECT_EQ(resumed.code, 2);
    EXPECT_NE(resumed.err.find("--one-cycle-only"), std::string::npos) << resumed.err;
}

TEST_F(Finetune, a_resume_needs_no_file_but_its_own) {
    namespace fs = std::filesystem;
    fs::copy(*place_ / "before", *place_ / "for_a_while", fs::copy_options::recursive);
    ASSERT_EQ(finetune({"--init", "for_a_while", "--checkpoint-every", "1", "--out", "on"}).code, 0);
    fs::remove_all(*place_ / "for_a_while");
    EXPECT_EQ(place_->run({"finetune", "--resume", "on"}).code, 0) << "finished";
    const std::string rows = place_->read("on/latest");
    const std::string newest = "on/checkpoints/" + rows.substr(0, rows.find('\n'));
    const std::string bytes = place_->read(newest);
    fs::remove(*place_ / newest);
    const Outcome resumed = place_->run({"finetune", "--resume", "on"});
    ASSERT_EQ(resumed.code, 0) << resumed.err;
    EXPECT_EQ(place_->read(newest), bytes) << "the bytes of a training that was left alone";
    // Without a checkpoint the training begins with those weights.
    fs::remove_all(*place_ / "on/checkpoints");
    for (const char* pointer : {"on/latest", "on/best"}) fs::remove(*place_ / pointer);
    EXPECT_EQ(place_->run({"finetune", "--resume", "on"}).code, 4);
}

TEST_F(Finetune, a_policy_that_is_asked_for_holds_in_both_stages) {
    ASSERT_EQ(finetune({"--init", "before", "--policy", "constant", "--out", "constant"}).code, 0);
    const auto lines = lines_of(place_->read("constant/steps.csv"));
    EXPECT_EQ(lines[1].substr(0, 8), "0,0.002,");
    EXPECT_EQ(lines[7].substr(0, 8), "6,0.001,");
}

// Found later, after the images and with all memory of a training taken, it would cost half a
// gigabyte.
TEST_F(Finetune, damaged_weights_are_found_before_anything_else) {
    std::string bytes = place_->read("before/checkpoints/step-000006.safetensors");
    bytes[bytes.size() / 2] ^= 1;
    place_->write("damaged.safetensors", bytes);
    for (const char* verb : {"finetune", "train", "find"}) {
        const Outcome refused =
            place_->run({verb, "data", "--init", "damaged.safetensors", "--valid", "nowhere"});
        EXPECT_EQ(refused.code, 4) << verb << refused.err;
        EXPECT_NE(refused.err.find("does not match its digest"), std::string::npos) << refused.err;
        EXPECT_EQ(refused.out, "");
    }
}

TEST_F(Finetune, refuses_weights_of_another_network_with_4) {
    EXPECT_EQ(finetune({"--init", "before", "--arch", "resnet34"}).code, 4);
    EXPECT_EQ(finetune({"--init", "nowhere.pth"}).code, 4);
}

}  // namespace
}  // namespace onecycle::test
