// onecycle find with the real binary: what it says, what it writes, and that its advice can be
// followed.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/program.h"

namespace onecycle::test {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

class Find : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        place_ = new Workplace;
        const Outcome made =
            place_->run({"demo-data", "photos", "--classes", "3", "--images", "20", "--size", "40"});
        ASSERT_EQ(made.code, 0) << made.err;
    }
    static void TearDownTestSuite() { delete place_; }

    static Outcome run(const std::string& verb, const Words& more) {
        Words words = {verb, "photos",       "--arch", "resnet18", "--size",
                       "32", "--batch-size", "8",      "--seed",   "3"};
        words.insert(words.end(), more.begin(), more.end());
        return place_->run(words);
    }

    static bool says(const std::string& text, const std::string& part) {
        return text.find(part) != std::string::npos;
    }

    static inline Workplace* place_ = nullptr;
};

TEST_F(Find, names_its_subject_and_the_rate_that_it_marks) {
    const Outcome found = run("find", {"--steps", "60", "--out", "named"});
    ASSERT_EQ(found.code, 0) << found.err;
    const std::string subject = "Range test: photos, resnet18, 32 px, batch 8, seed 3";
    EXPECT_TRUE(says(found.out, subject + "\n")) << found.out;
    EXPECT_TRUE(says(place_->read("named/find.svg"), subject + "</text>"));
    const json object = json::parse(place_->read("named/find.json"));
    const json rate = object["auto_lr"].is_null() ? object["prior"] : object["auto_lr"];
    if (rate.is_null()) return;  // neither a descent nor anything usual
    EXPECT_TRUE(says(found.out, "★ one cycle up to ")) << found.out;
    EXPECT_TRUE(says(found.out, "(--max-lr " + rate.dump())) << found.out;
}

TEST_F(Find, a_saved_curve_gives_the_answer_of_the_run_that_saved_it) {
    for (const char* epochs : {"2", "40"}) {  // shorter than the test, and longer
        const std::string out = "curve-" + std::string(epochs);
        const Outcome found = run("find", {"--epochs", epochs, "--out", out, "--json"});
        ASSERT_EQ(found.code, 0) << found.err;
        const Outcome again =
            place_->run({"find", "--from-csv", out + "/find.csv", "--json", "--out", out + "-again"});
        ASSERT_EQ(again.code, 0) << again.err;
        const json first = json::parse(found.out), second = json::parse(again.out);
        for (const char* field : {"lr", "loss", "smoothed", "suggestion", "auto_lr", "prior", "curve_lr",
                                  "usual_lr", "lowest", "edge", "noise"})
            EXPECT_EQ(first[field], second[field]) << field;
        EXPECT_EQ(place_->read(out + "/find.csv"), place_->read(out + "-again/find.csv"));
        for (const char* unknown : {"network", "photos", "optimizer", "auto takes"})
            EXPECT_FALSE(says(again.err, unknown)) << again.err;
    }
}

TEST_F(Find, train_takes_the_rate_that_find_names_and_says_the_same) {
    for (const char* epochs : {"2", "17"}) {  // 12 updates, for which no test is run, and 102
        const std::string name = "story-" + std::string(epochs);
        const Outcome found = run("find", {"--epochs", epochs, "--out", name + "-find", "--json"});
        const Outcome trained = run("train", {"--epochs", epochs, "--out", name, "--json"});
        ASSERT_EQ(found.code, 0) << found.err;
        ASSERT_EQ(trained.code, 0) << trained.err;
        const json object = json::parse(found.out);
        const json rate = object["auto_lr"].is_null() ? object["prior"] : object["auto_lr"];
        EXPECT_EQ(json::parse(trained.out)["max_lr"], rate);
        EXPECT_EQ(json::parse(place_->read(name + "/config.json"))["max_lr"], rate);
        EXPECT_TRUE(says(found.err, "--max-lr " + rate.dump())) << found.err;
        if (name == "story-2") {
            EXPECT_EQ(object["prior"], object["usual_lr"]);
            EXPECT_TRUE(says(trained.err, "up to " + rate.dump())) << trained.err;
            continue;
        }
        for (const char* file : {"/find.csv", "/find.svg"})
            EXPECT_EQ(place_->read(name + "-find" + file), place_->read(name + "/find" + file));
        const std::size_t plot = found.err.find("Range test: "), end = found.err.find("fastai's rules");
        EXPECT_TRUE(says(trained.err, found.err.substr(plot, end - plot))) << trained.err;
    }
}

// The rows are equal parts of a decade from 1e-7 on: 1e-3 is one of them, whatever its last bits
// say.
TEST_F(Find, rates_are_written_without_the_digits_of_rounding) {
    const Outcome found = run("find", {"--steps", "81", "--out", "digits", "--json"});
    ASSERT_EQ(found.code, 0) << found.err;
    EXPECT_TRUE(says(place_->read("digits/find.csv"), "\n0.001,"));
    const json object = json::parse(found.out);
    for (const char* field : {"lr", "suggestion", "lowest", "edge", "auto_lr"})
        for (const char* rounding : {"99999", "00000"})
            EXPECT_FALSE(says(object[field].dump(), rounding)) << object[field];
}

TEST_F(Find, verify_tries_three_rates_and_leaves_no_trace) {
    const Outcome found =
        run("find", {"--steps", "60", "--verify", "--verify-steps", "12", "--out", "verified", "--json"});
    ASSERT_EQ(found.code, 0) << found.err;
    const json object = json::parse(found.out);
    EXPECT_EQ(object, json::parse(place_->read("verified/find.json")));
    EXPECT_EQ(object["state_digest_before"], object["state_digest_after"]);
    const json rate = object["auto_lr"].is_null() ? object["prior"] : object["auto_lr"];
    if (rate.is_null()) {
        EXPECT_TRUE(object["verify"].empty());
        return;
    }
    ASSERT_EQ(object["verify"].size(), 3u);
    EXPECT_EQ(object["verify"][1]["lr"], rate);
    EXPECT_TRUE(says(found.err, "valid loss  accuracy")) << found.err;
    // It is what a training of as many updates comes to.
    const Outcome trained =
        run("train", {"--epochs", "2", "--max-lr", rate.dump(), "--out", "trained", "--json"});
    ASSERT_EQ(trained.code, 0) << trained.err;
    const json last = json::parse(trained.out)["epochs"][1];
    EXPECT_EQ(object["verify"][1]["valid_loss"], last["valid_loss"]);
    EXPECT_EQ(object["verify"][1]["accuracy"], last["accuracy"]);
}

TEST_F(Find, a_sweep_leads_with_auto) {
    const Outcome swept = run("find", {"--steps", "40", "--sweep", "momentum=0.5,0.9", "--out", "swept"});
    ASSERT_EQ(swept.code, 0) << swept.err;
    const std::size_t header = swept.out.find("    momentum      auto  steepest");
    EXPECT_NE(header, std::string::npos) << swept.out;
    EXPECT_TRUE(says(place_->read("swept/momentum=0.5/find.svg"), "seed 3, momentum 0.5</text>"));
}

TEST_F(Find, what_verify_cannot_do_is_refused) {
    place_->write("saved.csv", "lr,loss\n0.1,1\n");
    for (const Words& words : {Words{"find", "photos", "--verify", "--sweep", "momentum=0.5,0.9"},
                               Words{"find", "--from-csv", "saved.csv", "--verify"},
                               Words{"find", "photos", "--verify-steps", "10"},
                               Words{"find", "photos", "--verify", "--verify-steps", "0"}}) {
        const Outcome refused = place_->run(words);
        EXPECT_EQ(refused.code, 2) << refused.err;
        EXPECT_TRUE(says(refused.err, "--verify") && says(refused.err, "; fix: ")) << refused.err;
    }
}

}  // namespace
}  // namespace onecycle::test
