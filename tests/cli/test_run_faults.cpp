// Run folders that were damaged, moved, mixed up or never begun, from the command to the exit code.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "cli/program.h"

namespace onecycle::test {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

class RunFaults : public ::testing::Test {
  protected:
    void SetUp() override {
        ASSERT_EQ(place_.run({"demo-data", "data", "--classes", "2", "--images", "10", "--size", "40"}).code,
                  0);
    }
    static Words training(const std::string& out, const Words& more = {}) {
        Words words = {"train", "data",     "--arch", "resnet18",   "--size", "32",    "--batch-size",
                       "8",     "--max-lr", "0.01",   "--progress", "none",   "--out", out};
        words.insert(words.end(), more.begin(), more.end());
        return words;
    }
    Outcome train(const std::string& out, const Words& more = {}) const {
        return place_.run(training(out, more));
    }
    std::string checkpoint(const std::string& run, int step) const {
        return place_ / (run + "/checkpoints/step-00000" + std::to_string(step) + ".safetensors");
    }
    void damage(const std::string& path) const {
        std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(5000);
        file.put('\x5a');
    }

    const Workplace place_;
};

TEST_F(RunFaults, where_no_checkpoint_is_whole_the_command_that_is_advised_begins_anew) {
    ASSERT_EQ(train("run", {"--epochs", "2"}).code, 0);
    damage(checkpoint("run", 2));
    damage(checkpoint("run", 4));
    const auto before = place_.listing();
    const std::string rows = place_.read("run/steps.csv");
    const Outcome resumed = place_.run({"train", "--resume", "run"});
    EXPECT_EQ(resumed.code, 4) << resumed.err;
    for (const char* part : {"step-000002.safetensors (", "step-000004.safetensors (",
                             "onecycle train --config run/config.json --out run-anew"})
        EXPECT_NE(resumed.err.find(part), std::string::npos) << resumed.err;
    EXPECT_EQ(place_.listing(), before);
    EXPECT_EQ(place_.read("run/steps.csv"), rows);
    EXPECT_EQ(place_.run({"train", "--config", "run/config.json", "--out", "run-anew"}).code, 0);
    EXPECT_EQ(place_.read("run-anew/steps.csv"), rows);
}

TEST_F(RunFaults, what_a_killed_start_leaves_keeps_no_command_from_working) {
    for (const char* left : {".lock", ".onecycle-1", "config.json.tmp"}) {
        SCOPED_TRACE(left);
        fs::remove_all(place_ / "run");
        fs::create_directory(place_ / "run");
        place_.write(std::string("run/") + left, std::string(left) == ".lock" ? "4711" : "{");
        const Outcome resumed = place_.run({"train", "--resume", "run"});
        EXPECT_EQ(resumed.code, 4);
        EXPECT_NE(resumed.err.find("was stopped before it began"), std::string::npos) << resumed.err;
        const Outcome again = train("run", {"--epochs", "1"});
        EXPECT_EQ(again.code, 0) << again.err;
        EXPECT_FALSE(fs::exists(place_ / ("run/" + std::string(left))));
    }
    // A probe that is left later keeps no resume from working either.
    place_.write("run/.onecycle-1", "");
    EXPECT_EQ(place_.run({"train", "--resume", "run"}).code, 0);
    EXPECT_FALSE(fs::exists(place_ / "run/.onecycle-1"));
}

TEST_F(RunFaults, another_runs_checkpoint_a_pipe_and_a_folder_are_named_and_passed_over) {
    ASSERT_EQ(train("run", {"--epochs", "2"}).code, 0);
    ASSERT_EQ(train("other", {"--epochs", "3"}).code, 0);
    fs::copy(checkpoint("other", 6), checkpoint("run", 6));
    ASSERT_EQ(::mkfifo(checkpoint("run", 7).c_str(), 0600), 0);
    fs::remove(place_ / "run/best");
    fs::create_directory(place_ / "run/best");
    fs::remove(place_ / "run/metrics.csv");
    const Outcome resumed = place_.run({"train", "--resume", "run"});
    EXPECT_EQ(resumed.code, 0) << resumed.err;
    for (const char* part :
         {"step-000006.safetensors: it is of another run", "step-000007.safetensors: it is no regular file",
          "run/best: it is a folder", "metrics.csv lacks the rows of 2 of 2 epochs"})
        EXPECT_NE(resumed.err.find(part), std::string::npos) << resumed.err;
    const Outcome eval = place_.run({"eval", "data", "--model", "run"});
    EXPECT_EQ(eval.code, 0) << eval.err;
    EXPECT_NE(eval.err.find("passing over run/best"), std::string::npos) << eval.err;
}

TEST_F(RunFaults, a_checkpoint_of_a_run_with_the_same_options_and_other_images_is_passed_over) {
    ASSERT_EQ(place_.run({"demo-data", "more", "--classes", "2", "--images", "20", "--size", "40"}).code, 0);
    ASSERT_EQ(train("run", {"--epochs", "2"}).code, 0);
    Words words = {"train",    "more", "--arch",   "resnet18", "--size",     "32",   "--batch-size", "8",
                   "--max-lr", "0.01", "--epochs", "2",        "--progress", "none", "--out",        "other"};
    ASSERT_EQ(place_.run(words).code, 0);
    const auto before = place_.listing();
    fs::copy(checkpoint("other", 8), checkpoint("run", 8));
    const Outcome resumed = place_.run({"train", "--resume", "run"});
    EXPECT_EQ(resumed.code, 0) << resumed.err;
    EXPECT_NE(resumed.err.find("step-000008.safetensors: it is of another run"), std::string::npos)
        << resumed.err;
    EXPECT_EQ(resumed.err.find("missing"), std::string::npos) << resumed.err;
    ASSERT_TRUE(fs::remove(checkpoint("run", 8) + ".foreign"));
    EXPECT_EQ(place_.listing(), before);
    // Where it is the only one, it is the images that were changed.
    fs::remove_all(place_ / "run/checkpoints");
    fs::create_directory(place_ / "run/checkpoints");
    fs::copy(checkpoint("other", 8), checkpoint("run", 8));
    const Outcome alone = place_.run({"train", "--resume", "run"});
    EXPECT_EQ(alone.code, 3) << alone.err;
    EXPECT_NE(alone.err.find("its "), std::string::npos) << alone.err;
}

TEST_F(RunFaults, a_folder_that_is_moved_ends_the_training_and_goes_on_where_it_is) {
    std::thread mover([&] {
        for (int i = 0; i < 2000 && !fs::exists(place_ / "run/latest"); ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        std::error_code failed;
        fs::rename(place_ / "run", place_ / "moved", failed);
    });
    const Outcome outcome = train("run", {"--epochs", "30"});
    mover.join();
    EXPECT_EQ(outcome.code, 5) << outcome.err;
    EXPECT_NE(outcome.err.find("deleted or moved"), std::string::npos) << outcome.err;
    EXPECT_FALSE(fs::exists(place_ / "run"));
    const Outcome resumed = place_.run({"train", "--resume", "moved"});
    EXPECT_EQ(resumed.code, 0) << resumed.err;
}

TEST_F(RunFaults, what_to_do_when_a_save_fails_is_an_option_that_a_run_keeps) {
    EXPECT_EQ(train("run", {"--epochs", "1", "--save-errors", "never"}).code, 2);
    ASSERT_EQ(train("run", {"--epochs", "1", "--save-errors", "stop"}).code, 0);
    EXPECT_NE(place_.read("run/config.json").find("\"save_errors\": \"stop\""), std::string::npos);
    EXPECT_EQ(place_.run({"train", "--resume", "run", "--save-errors", "go-on"}).code, 0);
}

#ifdef ONECYCLE_FAULTS
TEST_F(RunFaults, where_no_thread_can_be_started_the_calling_one_does_all_the_work) {
    const Words more = {"--epochs", "2", "--threads", "2", "--checkpoint-every", "1"};
    ASSERT_EQ(train("run", more).code, 0);
    for (const char* limit : {"0", "1", "3"}) {
        SCOPED_TRACE(limit);
        const std::string out = std::string("limit-") + limit;
        const pid_t child = place_.start_prepared(training(out, more), [&] {
            setenv("LD_PRELOAD", ONECYCLE_FAULTS, 1);
            setenv("ONECYCLE_FAULT_THREADS", limit, 1);
        });
        const Outcome ended = place_.finish(child);
        EXPECT_EQ(ended.code, 0) << ended.err;
        for (const char* file : {"/steps.csv", "/checkpoints/step-000004.safetensors"})
            EXPECT_TRUE(place_.read(out + file) == place_.read("run" + std::string(file))) << file;
    }
}
#endif

TEST_F(RunFaults, memory_that_does_not_suffice_ends_with_one_line_wherever_it_is_asked_for) {
    int refused = 0, unmade = 0;
    for (rlim_t mebibytes = 150; mebibytes < 450; mebibytes += 20) {
        SCOPED_TRACE(mebibytes);
        const std::string out = "run-" + std::to_string(mebibytes);
        const pid_t child = place_.start_prepared(training(out, {"--epochs", "1", "--threads", "3"}), [&] {
            const rlimit limit{mebibytes << 20, mebibytes << 20};
            setrlimit(RLIMIT_AS, &limit);
        });
        const Outcome ended = place_.finish(child);
        if (ended.code == 127) continue;  // not even its libraries find room
        EXPECT_TRUE(ended.code == 0 || ended.code == 5 || ended.code == 7) << ended.code << ended.err;
        if (ended.code == 0) continue;
        ++refused;
        EXPECT_TRUE(ended.err.starts_with("error: ")) << ended.err;
        EXPECT_EQ(ended.err.find('\n'), ended.err.size() - 1) << ended.err;
        EXPECT_NE(ended.err.find("; fix: "), std::string::npos) << ended.err;
        EXPECT_NE(ended.err.find("a smaller --batch-size or --size"), std::string::npos) << ended.err;
        unmade += !fs::exists(place_ / out);
    }
    EXPECT_GT(refused, 0);
    EXPECT_GT(unmade, 0);
}

}  // namespace
}  // namespace onecycle::test
