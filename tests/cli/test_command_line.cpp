// The command line as people type it: help, options before the verb, and what nobody would type.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "cli/program.h"

namespace onecycle::test {
namespace {

using Words = std::vector<std::string>;

const Words verbs = {"find", "train", "finetune", "eval",   "predict", "export",
                     "plan", "info",  "profile",  "doctor", "pack",    "demo-data"};

TEST(CommandLine, help_behind_before_and_as_a_verb_is_the_same) {
    const Workplace place;
    for (const std::string& verb : verbs) {
        SCOPED_TRACE(verb);
        const Outcome usual = place.run({verb, "--help"});
        EXPECT_EQ(usual.code, 0);
        EXPECT_NE(usual.out.find("Usage: onecycle " + verb + " "), std::string::npos) << usual.out;
        for (const Words& words :
             {Words{"help", verb}, {verb, "-h"}, {"--help", verb}, {"--quiet", verb, "-h"}})
            EXPECT_EQ(place.run(words).out, usual.out);
    }
    const Outcome all = place.run({"--help"});
    EXPECT_EQ(all.code, 0);
    for (const std::string& verb : verbs) EXPECT_NE(all.out.find("\n  " + verb + " "), std::string::npos);
    for (const Words& words : {Words{"help"}, {"-h"}, {"help", "help"}, {"--no-color", "--help"}})
        EXPECT_EQ(place.run(words).out, all.out);
}

TEST(CommandLine, the_networks_that_arch_takes_are_listed_and_each_is_taken) {
    const Workplace place;
    const Outcome listed = place.run({"info", "--archs", "--json"});
    EXPECT_EQ(listed.code, 0) << listed.err;
    const std::map<std::string, std::int64_t> torchvisions = {{"resnet18", 11'689'512},
                                                              {"resnet34", 21'797'672},
                                                              {"resnet50", 25'557'032},
                                                              {"vgg16_bn", 138'365'992}};
    std::size_t known = 0;
    const nlohmann::json answer = nlohmann::json::parse(listed.out);
    for (const auto& arch : answer.at("archs")) {
        const std::string name = arch.at("name");
        EXPECT_EQ(place.run({"plan", "--program", "--arch", name, "--size", "224", "--batch-size", "2"}).code,
                  0)
            << name;
        EXPECT_NE(place.run({"info", "--archs"}).out.find(name), std::string::npos);
        if (const auto found = torchvisions.find(name); found != torchvisions.end()) {
            EXPECT_EQ(arch.at("parameters"), found->second) << name;
            ++known;
        }
    }
    EXPECT_EQ(known, torchvisions.size());
    EXPECT_EQ(place.run({"info", "--archs", "run"}).code, 2);
}

TEST(CommandLine, the_version_is_told_before_a_verb) {
    const Workplace place;
    for (const Words& words :
         {Words{"--version"}, {"--quiet", "--version"}, {"--version", "train", "photos"}}) {
        const Outcome outcome = place.run(words);
        EXPECT_EQ(outcome.code, 0);
        EXPECT_EQ(outcome.out.rfind("onecycle ", 0), 0u) << outcome.out;
    }
}

TEST(CommandLine, options_count_before_the_verb_as_behind_it) {
    const Workplace place;
    const Outcome behind =
        place.run({"plan", "--epochs", "2", "--steps-per-epoch", "3", "--policy", "cosine"});
    EXPECT_EQ(behind.code, 0) << behind.err;
    EXPECT_GT(std::count(behind.out.begin(), behind.out.end(), '\n'), 6);
    for (const Words& words :
         {Words{"--epochs", "2", "plan", "--steps-per-epoch=3", "--policy", "cosine"},
          {"--no-color", "--steps-per-epoch", "3", "--policy=cosine", "plan", "--epochs", "2"},
          {"--progress", "plain", "--epochs=2", "--steps-per-epoch", "3", "--policy", "cosine", "plan"}})
        EXPECT_EQ(place.run(words).out, behind.out);
    // The value of an option before the verb may be called like a verb.
    EXPECT_NE(place.run({"--out", "train", "find", "photos"}).err.find("photos"), std::string::npos);
}

TEST(CommandLine, an_argument_before_the_verb_is_answered_with_the_right_order) {
    const Workplace place;
    const Outcome outcome = place.run({"my photos", "--epochs", "3", "train", "--quiet"});
    EXPECT_EQ(outcome.code, 2);
    EXPECT_EQ(outcome.err,
              "error: unexpected argument: my photos: it stands before the verb; "
              "fix: onecycle train 'my photos' --epochs 3 --quiet\n");
}

TEST(CommandLine, what_is_no_verb_gets_its_line) {
    const Workplace place;
    const std::pair<Words, const char*> rows[] = {
        {{}, "error: no verb: onecycle"},
        {{"--json"}, "error: no verb: --json"},
        {{"--progress", "plain"}, "error: no verb: --progress"},
        {{"trian", "photos"}, "error: unknown verb: trian: not known; fix: did you mean train?"},
        {{"help", "trian"}, "error: unknown verb: trian: not known; fix: did you mean train?"},
        {{""}, "error: unknown verb: ''"},
        {{"--nothing-like-it"}, "error: unknown option: --nothing-like-it"},
        {{"-"}, "error: unknown option: -"},
    };
    for (const auto& [words, line] : rows) {
        const Outcome outcome = place.run(words);
        EXPECT_EQ(outcome.code, 2);
        EXPECT_EQ(outcome.err.rfind(line, 0), 0u) << outcome.err << "instead of " << line;
        EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    }
}

// A run as far as it matters which is the newest.
void make_run(const Workplace& place, const std::string& folder, const std::string& data, int hours_ago) {
    place.write(folder + "/config.json", "{\"data\": \"" + data + "\"}");
    place.write(folder + "/latest", "step-000001.safetensors\n");
    std::filesystem::last_write_time(
        place / (folder + "/latest"),
        std::filesystem::file_time_type::clock::now() - std::chrono::hours(hours_ago));
}

TEST(CommandLine, a_runs_name_means_the_one_that_was_trained_last) {
    const Workplace place;
    const auto said = [&](const std::string& model) { return place.run({"info", model, "--json"}).err; };
    make_run(place, "runs/photos", "/data/photos", 5);
    EXPECT_EQ(said("runs/photos"), "") << "the only one needs no word";
    make_run(place, "runs/photos-2", "/data/photos", 1);
    make_run(place, "runs/photos-10", "/data/photos", 3);
    make_run(place, "runs/photos-11", "/data/photos-11", 0);  // of other data, which are called so
    make_run(place, "runs/photos-02", "/data/photos", 0);
    make_run(place, "runs/photos-find", "/data/photos", 0);
    place.write("runs/photos-3/config.json", "{\"data\": \"/data/photos\"}");  // stopped before a checkpoint
    const std::string second =
        "runs/photos is runs/photos-2, the run of that name that was trained last "
        "(runs/photos/ would be the folder itself).\n";
    EXPECT_EQ(said("runs/photos"), second);
    EXPECT_EQ(said("runs/photos/"), "");
    EXPECT_EQ(said("runs/photos-2"), "");
    EXPECT_EQ(said("runs/photos-11"), "");
    // The first one was resumed.
    make_run(place, "runs/photos", "/data/photos", 0);
    EXPECT_NE(said("runs/photos").find("runs/photos is runs/photos, the run"), std::string::npos);
    // A folder that --out named is itself, whatever stands beside it.
    make_run(place, "runs/best", "/data/photos", 9);
    make_run(place, "runs/best-2", "/data/photos", 1);
    EXPECT_EQ(said("runs/best"), "");
    // Every verb that takes a model.
    for (const Words& words : {Words{"eval", "photos", "--model", "runs/photos"},
                               {"predict", "a.jpg", "--model", "runs/photos"},
                               {"export", "runs/photos", "--to", "a.onnx"}}) {
        const Outcome outcome = place.run(words);
        EXPECT_NE((outcome.out + outcome.err).find("the run of that name"), std::string::npos) << words[0];
    }
}

// Words of a command line, none of which leads to a long work: every name is that of an empty file.
class AnyWords {
  public:
    explicit AnyWords(const Workplace& place) {
        for (const char* name : {"photos", "a.safetensors", "model.onnx", "3", "1e-3", "train", "val", "x=y"})
            place.write(name, "");
        options_ = {
            "--help",    "-h",         "--version",    "--json",     "--quiet",  "--no-color", "--progress",
            "--model",   "--out",      "--config",     "--resume",   "--epochs", "--size",     "--max-lr",
            "--policy",  "--momentum", "--sizes",      "--from-csv", "--sweep",  "--to",       "--mean",
            "--tensors", "--quiet=5",  "--json=",      "--=",        "--",       "-",          "-x",
            "---",       "--size=",    "--epochs=1e9", "--seed=-1",  "-1",       "--all",      "--tta",
            "--top",     "--valid",    "--mode",       "--limits",   "--freeze", "--lr",       "--bs"};
        others_ = {
            "photos", "a.safetensors", "model.onnx", "3",        "1e-3", "train", "val",      "x=y", "",
            " ",      "help",          "plain",      "\xff\xfe", "\n",   "%s%n",  "--size 3", "0",   "-3",
            "auto",   "none",          "[]",         "a=b,c"};
    }

    Words draw() {
        Words words;
        const std::size_t count = below(6);
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t kind = below(8);
            words.push_back(kind < 2   ? verbs[below(verbs.size())]
                            : kind < 5 ? options_[below(options_.size())]
                                       : others_[below(others_.size())]);
        }
        // These need no input to work on, and would.
        for (const char* worker : {"profile", "demo-data", "doctor"})
            if (std::find(words.begin(), words.end(), worker) != words.end())
                words.push_back("--no-such-option");
        return words;
    }

  private:
    std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }

    std::mt19937_64 random_{1};
    Words options_, others_;
};

// ONECYCLE_COMMAND_LINES=5000 tries more.
TEST(CommandLine, no_list_of_words_gets_more_than_a_line_or_an_answer) {
    const Workplace place;
    AnyWords any(place);
    ::setenv("GOMP_SPINCOUNT", "10000", 1);  // the program would start itself once more to set it
    const char* wanted = std::getenv("ONECYCLE_COMMAND_LINES");
    const int count = wanted ? std::atoi(wanted) : 150;
    const auto before = place.listing();
    for (int i = 0; i < count; ++i) {
        const Words words = any.draw();
        std::string shown = "onecycle";
        for (const std::string& word : words) shown += " '" + word + "'";
        SCOPED_TRACE(shown);
        const Outcome outcome = place.run(words);
        if (outcome.code == 0) continue;
        ASSERT_TRUE(outcome.code >= 2 && outcome.code <= 5) << outcome.code << outcome.err;
        const std::size_t error = outcome.err.rfind("error: ");
        ASSERT_NE(error, std::string::npos) << outcome.err;
        ASSERT_EQ(outcome.err.find('\n', error), outcome.err.size() - 1) << outcome.err;
        for (const char* raw : {"fault of the program", "std::", "_M_", "CLI::", "terminate"})
            ASSERT_EQ(outcome.err.find(raw), std::string::npos) << outcome.err;
        ASSERT_NE(outcome.err.find("; fix: ", error), std::string::npos) << outcome.err;
        ASSERT_EQ(place.listing(), before) << "it left something behind";
    }
}

}  // namespace
}  // namespace onecycle::test
