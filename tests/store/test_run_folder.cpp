#include "formats/readers.h"
#include "formats/safetensors_writer.h"
#include "onecycle/run_folder.h"
#include "store/run_folders.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "core/file.h"
#include "core/simulated_file_system.h"
#include "core/watched_file_system.h"
#include "onecycle/error.h"
#include "temporary_folder.h"

namespace onecycle {
namespace {

using test::SimulatedFileSystem;

// A training small enough to be run thousands of times: the state is a function of the step, a row
// is logged for each update, and the state is saved after every second update.
constexpr std::int64_t last_step = 8, save_every = 2;
const char* const header = "step,loss";

std::int64_t best_of(std::int64_t step) {
    return step < 4 ? 2 : 4;
}

void save(RunFolder& run, std::int64_t step) {
    const std::vector<float> state(3, static_cast<float>(step));
    run.save(step, {{float_tensor("weight", {3}, state)}, {{"classes", "[]"}}}, best_of(step));
}

// Runs from the newest checkpoint to the end; where it had not begun, the same command begins it.
// Tells of each save that returned.
void train(SimulatedFileSystem& fs, std::int64_t* saved = nullptr) {
    const bool started = fs.has("run/config.json");
    RunFolder run = started ? RunFolders(fs).open("run") : RunFolders(fs).create("run");
    if (!started) run.write("config.json", "{}");
    const auto newest = RunFolders(fs).newest_valid_checkpoint("run");
    const std::int64_t first = newest ? newest->step : 0;
    CsvLog& log = run.steps_log(header);
    log.keep_below(first);
    for (std::int64_t step = first; step < last_step; ++step) {
        log.append(std::to_string(step) + ",0.5");
        if ((step + 1) % save_every == 0) {
            save(run, step + 1);
            if (saved != nullptr) *saved = step + 1;
        }
    }
}

void train_until_power_loss(SimulatedFileSystem& fs, std::int64_t& saved) {
    try {
        train(fs, &saved);
    } catch (const Error&) {
    }
}

// All that a run left, by path; without the lock.
std::map<std::string, std::string> contents(SimulatedFileSystem& fs) {
    std::map<std::string, std::string> all;
    for (const std::string& path : fs.paths()) {
        FileStatus status;
        fs.status(path, status);
        if (status.type == FileStatus::Type::regular && path != "run/.lock") all[path] = read_file(fs, path);
    }
    return all;
}

std::string target_of(SimulatedFileSystem& fs, const std::string& pointer) {
    const std::string text = read_file(fs, pointer);
    return "run/checkpoints/" + text.substr(0, text.find('\n'));
}

std::string names(SimulatedFileSystem& fs) {
    std::string all;
    for (const auto& file : contents(fs)) all += file.first.substr(4) + ' ';
    return all;
}

TEST(RunFolder, keeps_the_two_newest_checkpoints_and_the_best) {
    SimulatedFileSystem fs;
    train(fs);
    EXPECT_EQ(names(fs),
              "best checkpoints/step-000004.safetensors checkpoints/step-000006.safetensors "
              "checkpoints/step-000008.safetensors config.json latest steps.csv ");
    EXPECT_EQ(read_file(fs, "run/latest"), "step-000008.safetensors\n");
    EXPECT_EQ(read_file(fs, "run/best"), "step-000004.safetensors\n");
    EXPECT_EQ(read_file(fs, "run/steps.csv"),
              "step,loss\n0,0.5\n1,0.5\n2,0.5\n3,0.5\n4,0.5\n5,0.5\n6,0.5\n7,0.5\n");
    const SafetensorsFile file("run/checkpoints/step-000008.safetensors", fs);
    EXPECT_EQ(file.read_floats("weight"), std::vector<float>(3, 8.0f));
    EXPECT_EQ(file.metadata(),
              (std::map<std::string, std::string>{{"best_step", "4"}, {"classes", "[]"}, {"step", "8"}}));
}

TEST(RunFolder, a_power_loss_at_any_call_loses_no_saved_step_and_the_resumed_run_ends_with_equal_bytes) {
    SimulatedFileSystem whole;
    train(whole);
    const std::int64_t total = whole.calls;
    const auto expected = contents(whole);
    ASSERT_GT(total, 100);
    for (std::int64_t call = 1; call <= total; ++call) {
        for (std::uint64_t damage = 0; damage < 20; ++damage) {
            SCOPED_TRACE(testing::Message() << "call " << call << " of " << total << ", damage " << damage);
            SimulatedFileSystem fs;
            std::int64_t saved = 0;
            fs.power_loss_at_call = call;
            train_until_power_loss(fs, saved);
            fs.lose_power(damage);
            const auto newest = RunFolders(fs).newest_valid_checkpoint("run");
            ASSERT_GE(newest ? newest->step : 0, saved);
            for (const char* pointer : {"run/latest", "run/best"}) {
                ASSERT_TRUE(!fs.has(pointer) || fs.has(target_of(fs, pointer))) << pointer;
            }
            // The power goes again, somewhere in the recovery or after it.
            fs.calls = 0;
            fs.power_loss_at_call =
                1 + static_cast<std::int64_t>(call * 7 + static_cast<std::int64_t>(damage)) % 60;
            train_until_power_loss(fs, saved);
            fs.lose_power(damage + 1);
            ASSERT_GE(RunFolders(fs).newest_valid_checkpoint("run").value_or(CheckpointFile{}).step, saved);
            train(fs);
            ASSERT_EQ(contents(fs), expected);
        }
    }
}

TEST(RunFolder, any_failing_call_of_a_save_is_reported_and_leaves_the_older_checkpoints_valid) {
    // A run with step 2 saved, about to save step 4.
    const auto prepared = [](SimulatedFileSystem& fs) {
        RunFolder run = RunFolders(fs).create("run");
        run.steps_log(header).append("0,0.5");
        save(run, 2);
        fs.calls = 0;
        return run;
    };
    SimulatedFileSystem trial;
    RunFolder trial_run = prepared(trial);
    save(trial_run, 4);
    const std::int64_t total = trial.calls;
    for (const int code : {ENOSPC, EDQUOT, EIO, EINTR, 0}) {
        for (std::int64_t call = 1; call <= total; ++call) {
            for (const bool for_ever : {false, true}) {
                SCOPED_TRACE(testing::Message() << "errno " << code << " at call " << call
                                                << (for_ever ? " for ever" : " once"));
                SimulatedFileSystem fs;
                RunFolder run = prepared(fs);
                fs.fault = {call, code, for_ever};
                bool failed = false;
                try {
                    save(run, 4);
                } catch (const Error& error) {
                    failed = true;
                    EXPECT_EQ(error.kind(), ErrorKind::io) << error.what();
                }
                const bool harmless = code == 0 || (code == EINTR && !for_ever);
                EXPECT_FALSE(harmless && failed);
                fs.fault = {};
                const auto newest = RunFolders(fs).newest_valid_checkpoint("run");
                ASSERT_TRUE(newest);
                EXPECT_TRUE(newest->step == 4 || (failed && newest->step == 2));
                EXPECT_NO_THROW(SafetensorsFile("run/checkpoints/step-000002.safetensors", fs).verify());
                const bool unlink_fails = for_ever && (code == EIO || code == EINTR);
                EXPECT_TRUE(unlink_fails || names(fs).find(".tmp") == std::string::npos) << names(fs);
                EXPECT_NO_THROW(save(run, 4));  // the caller may try again
                EXPECT_EQ(read_file(fs, "run/latest"), "step-000004.safetensors\n");
            }
        }
    }
}

TEST(RunFolder, a_full_disk_is_found_before_anything_is_written) {
    SimulatedFileSystem fs;
    RunFolder run = RunFolders(fs).create("run");
    save(run, 2);
    const auto before = contents(fs);
    fs.space = 1000;
    try {
        save(run, 4);
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::io);
        EXPECT_NE(std::string(error.what()).find("no space left on the device: it needs 2 MB, 1 MB are free"),
                  std::string::npos)
            << error.what();
    }
    EXPECT_EQ(contents(fs), before);
}

TEST(RunFolder, a_disk_without_room_for_checkpoints_is_found_before_the_run_begins) {
    SimulatedFileSystem fs;
    fs.space = 3'000'000;
    EXPECT_NO_THROW(RunFolders(fs).check_space("runs/new", 3'000'000));
    try {
        RunFolders(fs).check_space("runs/new", 3'000'001);
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::io);
        EXPECT_NE(std::string(error.what()).find("need 4 MB, 3 MB are free"), std::string::npos)
            << error.what();
    }
    EXPECT_TRUE(contents(fs).empty());
}

TEST(RunFolder, a_damaged_newest_checkpoint_is_passed_over_with_one_line_and_set_aside) {
    SimulatedFileSystem fs;
    train(fs);
    const auto expected = contents(fs);
    const std::string newest = "run/checkpoints/step-000008.safetensors";
    fs.contents(newest).back() ^= std::byte{1};
    std::vector<std::string> lines;
    const auto log = [&](LogLevel, const std::string& line) { lines.push_back(line); };
    EXPECT_EQ(RunFolders(fs).newest_valid_checkpoint("run", log)->step, 6);
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_NE(lines[0].find("step-000008.safetensors"), std::string::npos) << lines[0];

    train(fs);  // once more from step 6
    EXPECT_TRUE(fs.has(newest + ".damaged"));
    ASSERT_EQ(fs.unlink(newest + ".damaged"), 0);
    EXPECT_EQ(contents(fs), expected);
}

TEST(RunFolder, a_checkpoint_under_another_ones_name_is_passed_over) {
    SimulatedFileSystem fs;
    train(fs);
    ASSERT_EQ(fs.rename("run/checkpoints/step-000004.safetensors", "run/checkpoints/step-000010.safetensors"),
              0);
    EXPECT_EQ(RunFolders(fs).newest_valid_checkpoint("run")->step, 8);
}

TEST(RunFolder, what_a_killed_process_left_is_removed) {
    SimulatedFileSystem fs;
    train(fs);
    const auto expected = contents(fs);
    for (const char* garbage : {"run/latest.tmp", "run/checkpoints/step-000009.safetensors.1.tmp"}) {
        ASSERT_GT(fs.create_exclusive(garbage), 0);
    }
    RunFolders(fs).open("run");
    EXPECT_EQ(contents(fs), expected);
}

// A file system in which the one file cannot be opened or read just now.
class Unreadable final : public test::SimulatedFileSystem {
  public:
    std::string path;
    int code = 0;
    int open_read(const std::string& file) override {
        return file == path ? -code : SimulatedFileSystem::open_read(file);
    }
};

TEST(RunFolder, a_checkpoint_that_cannot_be_read_just_now_is_an_io_error_and_nothing_is_touched) {
    for (const int code : {EACCES, EIO, ESTALE, EMFILE}) {
        SCOPED_TRACE(code);
        Unreadable fs;
        train(fs);
        const auto before = contents(fs);
        fs.path = "run/checkpoints/step-000008.safetensors";
        fs.code = code;
        try {
            RunFolders(fs).open("run");
            ADD_FAILURE() << "it was taken for damaged";
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::io) << error.what();
            EXPECT_NE(std::string(error.what()).find("step-000008.safetensors"), std::string::npos)
                << error.what();
        }
        fs.path.clear();
        EXPECT_EQ(contents(fs), before);
    }
}

TEST(RunFolder, any_failing_read_of_an_opening_renames_no_checkpoint) {
    SimulatedFileSystem trial;
    train(trial);
    trial.calls = 0;
    RunFolders(trial).open("run");
    const std::int64_t total = trial.calls;
    for (std::int64_t call = 1; call <= total; ++call) {
        SCOPED_TRACE(call);
        SimulatedFileSystem fs;
        train(fs);
        const auto before = contents(fs);
        fs.calls = 0;
        fs.fault = {call, EIO, true};
        try {
            RunFolders(fs).open("run");
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::io) << error.what();
        }
        fs.fault = {};
        EXPECT_EQ(contents(fs), before);
    }
}

TEST(RunFolder, where_all_checkpoints_are_damaged_nothing_begins_anew_and_each_is_named) {
    SimulatedFileSystem fs;
    train(fs);
    for (const char* step : {"4", "6", "8"})
        fs.contents(std::string("run/checkpoints/step-00000") + step + ".safetensors").back() ^= std::byte{1};
    const auto before = contents(fs);
    for (int times = 0; times < 2; ++times) {
        try {
            RunFolders(fs).open("run");
            FAIL() << "it would begin anew";
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::model);
            const std::string text = error.what();
            for (const char* part :
                 {"step-000004.safetensors (", "step-000006.safetensors (", "step-000008.safetensors (",
                  "train --config run/config.json --out run-anew"})
                EXPECT_NE(text.find(part), std::string::npos) << text;
        }
        EXPECT_EQ(contents(fs), before);
    }
    // Also where they were set aside before.
    for (const char* step : {"4", "6", "8"}) {
        const std::string file = std::string("run/checkpoints/step-00000") + step + ".safetensors";
        ASSERT_EQ(fs.rename(file, file + ".damaged"), 0);
    }
    EXPECT_THROW(RunFolders(fs).open("run"), Error);
}

TEST(RunFolder, a_checkpoint_of_another_run_and_what_is_no_file_are_named_and_set_aside) {
    SimulatedFileSystem fs;
    train(fs);
    const auto expected = contents(fs);
    const std::string folder = "run/checkpoints/";
    write_safetensors(folder + "step-000010.safetensors", {}, {{"step", "10"}, {"of", "another"}}, fs);
    ASSERT_EQ(fs.mkdir(folder + "step-000012.safetensors"), 0);
    std::string lines;
    const auto log = [&](LogLevel, const std::string& line) { lines += line + '\n'; };
    const auto ours = [](const auto& metadata) { return metadata.count("of") == 0; };
    EXPECT_EQ(RunFolders(fs).newest_valid_checkpoint("run", {}, ours)->step, 8);
    RunFolders(fs).open("run", log, ours);
    EXPECT_NE(lines.find("step-000010.safetensors: it is of another run"), std::string::npos) << lines;
    EXPECT_NE(lines.find("step-000012.safetensors: it is no regular file"), std::string::npos) << lines;
    EXPECT_TRUE(fs.has(folder + "step-000010.safetensors.foreign"));
    EXPECT_TRUE(fs.has(folder + "step-000012.safetensors.foreign"));
    ASSERT_EQ(fs.unlink(folder + "step-000010.safetensors.foreign"), 0);
    EXPECT_EQ(contents(fs), expected);
}

TEST(RunFolder, a_pointer_that_is_a_folder_costs_no_checkpoint) {
    SimulatedFileSystem fs;
    RunFolder run = RunFolders(fs).create("run");
    ASSERT_EQ(fs.mkdir("run/latest"), 0);
    ASSERT_EQ(fs.mkdir("run/best"), 0);
    std::string lines;
    const auto log = [&](LogLevel, const std::string& line) { lines += line + '\n'; };
    run.save(2, {{}, {}}, 2, log);
    EXPECT_NE(lines.find("passing over run/best: it is a folder"), std::string::npos) << lines;
    EXPECT_FALSE(RunFolders(fs).best_checkpoint("run", log));
    EXPECT_EQ(RunFolders(fs).resolve_model("run"), "run/checkpoints/step-000002.safetensors");
}

TEST(RunFolder, what_a_start_that_was_killed_leaves_is_as_good_as_empty) {
    SimulatedFileSystem fs;
    ASSERT_EQ(fs.mkdir("run"), 0);
    for (const char* left : {".lock", ".onecycle-4711", ".onecycle-4711-2", "config.json.tmp",
                             "config.json.1.tmp", "bad-images.txt.tmp"})
        ASSERT_GT(fs.create_exclusive(std::string("run/") + left), 0);
    EXPECT_TRUE(RunFolders(fs).is_unused("run"));
    EXPECT_NO_THROW(RunFolders(fs).check_out("run"));
    { RunFolder run = RunFolders(fs).create("run"); }
    EXPECT_EQ(names(fs), "");
    for (const char* kept : {"config.json", ".onecycle-notes", "config.json.2024.tmp.bak", "thesis.tmp"}) {
        SCOPED_TRACE(kept);
        ASSERT_GT(fs.create_exclusive(std::string("run/") + kept), 0);
        EXPECT_THROW(RunFolders(fs).check_out("run"), Error);
        ASSERT_EQ(fs.unlink(std::string("run/") + kept), 0);
    }
}

TEST(RunFolder, one_that_is_gone_is_not_made_again) {
    SimulatedFileSystem fs;
    RunFolder run = RunFolders(fs).create("run");
    run.write("config.json", "{}");
    save(run, 2);
    EXPECT_FALSE(run.is_gone());
    fs.remove_tree("run");
    EXPECT_TRUE(run.is_gone());
    EXPECT_THROW(run.write("find/find.csv", "lr,loss\n"), Error);
    EXPECT_THROW(save(run, 4), Error);
    EXPECT_FALSE(fs.has("run"));
    // Nor is another one's touched that stands there now.
    ASSERT_EQ(fs.mkdir("run"), 0);
    ASSERT_GT(fs.create_exclusive("run/notes"), 0);
    EXPECT_TRUE(run.is_gone());
    EXPECT_FALSE(run.remove_unless_begun());
    EXPECT_TRUE(fs.has("run/notes"));
}

TEST(CsvLog, keeps_rows_below_a_step_and_drops_a_half_row) {
    SimulatedFileSystem fs;
    write_file_atomically(fs, "log", "step,loss\n0,1\n1,1\n2,1\n10,1\n11,");
    CsvLog log = RunFolders(fs).csv_log("log", "step,loss");
    EXPECT_EQ(read_file(fs, "log"), "step,loss\n0,1\n1,1\n2,1\n10,1\n");
    log.keep_below(2);
    EXPECT_EQ(read_file(fs, "log"), "step,loss\n0,1\n1,1\n");
    log.append("2,7");
    EXPECT_EQ(read_file(fs, "log"), "step,loss\n0,1\n1,1\n2,7\n");
}

TEST(CsvLog, a_row_that_cannot_be_written_whole_leaves_no_part_and_comes_with_the_next) {
    SimulatedFileSystem fs;
    CsvLog log = RunFolders(fs).csv_log("log", "step,loss");
    fs.calls = 0;
    fs.fault = {1, EIO, false};
    EXPECT_THROW(log.append("0,1.5"), Error);
    EXPECT_EQ(read_file(fs, "log"), "step,loss\n");
    fs.calls = 0;
    fs.fault = {1, 0, false};  // a short write is finished
    EXPECT_NO_THROW(log.append("0,2.5"));
    EXPECT_EQ(read_file(fs, "log"), "step,loss\n0,1.5\n0,2.5\n") << "the next one brings it";
}

class OnDisk : public testing::Test {
  protected:
    template <class Action>
    void expect_error(ErrorKind kind, const std::string& words, Action action) {
        try {
            action();
            ADD_FAILURE() << "no error: " << words;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), kind) << error.what();
            EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
        }
    }

    const test::TemporaryFolder temporary_;
    const std::string folder_ = temporary_.path();
};

TEST_F(OnDisk, automatic_names_are_numbered) {
    EXPECT_EQ(RunFolder::create_numbered(folder_ + "/runs", "flowers").path(), folder_ + "/runs/flowers");
    EXPECT_EQ(RunFolder::create_numbered(folder_ + "/runs", "flowers").path(), folder_ + "/runs/flowers-2");
    EXPECT_EQ(RunFolder::create_numbered(folder_ + "/runs", "flowers").path(), folder_ + "/runs/flowers-3");
}

TEST_F(OnDisk, an_out_folder_must_be_new_or_empty) {
    std::ofstream(folder_ + "/file") << "text";
    expect_error(ErrorKind::io, "it is not empty", [&] { RunFolder::create(folder_); });
    expect_error(ErrorKind::io, "is a file", [&] { RunFolder::create(folder_ + "/file"); });
    expect_error(ErrorKind::io, "is a file", [&] { RunFolder::create(folder_ + "/file/run"); });
    RunFolder::check_out(folder_ + "/new/run");
    EXPECT_FALSE(std::filesystem::exists(folder_ + "/new"));
    std::filesystem::create_directory(folder_ + "/empty");
    EXPECT_NO_THROW(RunFolder::create(folder_ + "/empty"));
    EXPECT_NO_THROW(RunFolder::check_parent(folder_)) << "automatic names go beside what is there";
    expect_error(ErrorKind::io, "is a file", [&] { RunFolder::check_parent(folder_ + "/file"); });
    expect_error(ErrorKind::io, "/proc/onecycle", [] { RunFolder::create("/proc/onecycle/run"); });
}

TEST_F(OnDisk, a_second_process_stops_and_names_the_first) {
    const std::string path = folder_ + "/run";
    {
        RunFolder first = RunFolder::create(path);
        first.write("config.json", "{}");
        expect_error(ErrorKind::io, "process " + std::to_string(getpid()) + " works in it",
                     [&] { RunFolder::open(path); });
        EXPECT_NO_THROW(newest_valid_checkpoint(path));  // reading needs no lock
    }
    RunFolder again = RunFolder::open(path);
    EXPECT_EQ(again.read("config.json"), "{}");
    again.write("find/find.csv", "lr,loss\n");
    EXPECT_EQ(again.read("find/find.csv"), "lr,loss\n");
}

TEST_F(OnDisk, no_lock_stays_and_a_new_one_is_always_the_file_of_that_name) {
    const std::string path = folder_ + "/run", lock = path + "/.lock";
    for (int i = 0; i < 3; ++i) {
        RunFolder run = i ? RunFolder::open(path) : RunFolder::create(path);
        run.write("config.json", "{}");
        EXPECT_TRUE(std::filesystem::exists(lock));
        // Another process may have deleted it when it was done; whoever opens the next one is
        // refused nothing.
        if (i == 1) std::filesystem::remove(lock);
    }
    EXPECT_FALSE(std::filesystem::exists(lock));
}

TEST_F(OnDisk, a_run_that_never_began_leaves_the_place_as_it_was) {
    const std::string parent = folder_ + "/runs", given = folder_ + "/given";
    std::filesystem::create_directory(given);
    {
        RunFolder run = RunFolder::create_numbered(parent, "photos");
        run.write("config.json", "{}");
        run.write("find/find.csv", "lr,loss\n");
        run.steps_log(header).keep_below(0);
        run.remove_unless_begun();
        RunFolder empty = RunFolder::create(given);
        empty.write("config.json", "{}");
        empty.remove_unless_begun();
    }
    EXPECT_FALSE(std::filesystem::exists(parent));
    EXPECT_TRUE(std::filesystem::is_empty(given)) << "the folder was there before";
    // What has begun stays, and so does what another run has made beside it.
    {
        RunFolder begun = RunFolder::create_numbered(parent, "photos"),
                  never = RunFolder::create_numbered(parent, "photos");
        begun.write("config.json", "{}");
        begun.steps_log(header).append("0,0.5");
        begun.remove_unless_begun();
        never.remove_unless_begun();
    }
    EXPECT_FALSE(std::filesystem::exists(parent + "/photos-2"));
    EXPECT_TRUE(std::filesystem::exists(parent + "/photos/steps.csv"));
    RunFolder resumed = RunFolder::open(parent + "/photos");
    resumed.remove_unless_begun();
    EXPECT_TRUE(std::filesystem::exists(parent + "/photos/config.json"));
}

// The machine's disk, as it is when it can only be read.
class ReadOnlyDisk final : public test::WatchedFileSystem {
  public:
    ReadOnlyDisk() {
        before = [](const std::string&, const std::string&) { return -EROFS; };
    }
    int writable(const std::string&) override { return -EROFS; }
};

TEST_F(OnDisk, a_finished_run_on_a_disk_that_can_only_be_read_is_opened_and_no_other) {
    const std::string path = folder_ + "/run";
    {
        RunFolder run = RunFolder::create(path);
        run.write("config.json", "{}");
        run.save(2, {{}, {{"steps", "4"}}}, -1);
    }
    ReadOnlyDisk disk;
    expect_error(ErrorKind::io, "read-only", [&] { RunFolders(disk).open(path); });
    RunFolder::open(path).save(4, {{}, {{"steps", "4"}}}, -1);
    RunFolder run = RunFolders(disk).open(path);
    EXPECT_TRUE(run.read_only());
    run.write("training.svg", "<svg/>");
    EXPECT_FALSE(std::filesystem::exists(path + "/training.svg"));
    EXPECT_EQ(run.read("config.json"), "{}");
}

TEST_F(OnDisk, a_pointer_or_checkpoint_that_is_a_pipe_or_a_gigabyte_holds_nothing_up) {
    const std::string path = folder_ + "/run", checkpoints = path + "/checkpoints/";
    {
        RunFolder run = RunFolder::create(path);
        run.write("config.json", "{}");
        run.save(2, {{}, {}}, 2);
    }
    ASSERT_EQ(::mkfifo((checkpoints + "step-000008.safetensors").c_str(), 0600), 0);
    std::filesystem::remove(path + "/best");
    ASSERT_EQ(::mkfifo((path + "/best").c_str(), 0600), 0);
    std::filesystem::resize_file(path + "/latest", std::uintmax_t{1} << 30);
    std::string lines;
    const auto log = [&](LogLevel, const std::string& line) { lines += line + '\n'; };
    EXPECT_FALSE(best_checkpoint(path, log));
    EXPECT_EQ(resolve_model(path), checkpoints + "step-000002.safetensors");
    EXPECT_NE(lines.find("passing over " + path + "/best"), std::string::npos) << lines;
    lines.clear();
    RunFolder::open(path, log);
    for (const char* part : {"step-000008.safetensors: it is no regular file", "/best", "/latest"})
        EXPECT_NE(lines.find(part), std::string::npos) << lines;
    EXPECT_EQ(std::filesystem::file_size(path + "/latest"), 24u);
    EXPECT_EQ(std::filesystem::file_size(path + "/best"), 24u);
}

TEST_F(OnDisk, no_link_below_the_folder_is_followed) {
    namespace fs = std::filesystem;
    const std::string run = folder_ + "/run", elsewhere = folder_ + "/elsewhere";
    fs::create_directory(elsewhere);
    RunFolder::create(run).write("config.json", "{}");
    fs::create_directory_symlink(elsewhere, run + "/find");
    expect_error(ErrorKind::io, "it is a link", [&] { RunFolder::open(run); });
    fs::remove(run + "/find");
    RunFolder opened = RunFolder::open(run);
    fs::create_directory_symlink(elsewhere, run + "/find");
    expect_error(ErrorKind::io, "it is a link", [&] { opened.write("find/find.csv", "lr,loss\n"); });
    // A link in a file's place is replaced, and what it leads to stays.
    std::ofstream(elsewhere + "/mine") << "of mine";
    fs::create_symlink(elsewhere + "/mine", run + "/best");
    opened.write("best", "a checkpoint");
    EXPECT_FALSE(fs::is_symlink(run + "/best"));
    EXPECT_EQ(read_file(posix_file_system(), elsewhere + "/mine"), "of mine");
    EXPECT_EQ(std::distance(fs::directory_iterator(elsewhere), fs::directory_iterator()), 1);
}

TEST_F(OnDisk, only_a_run_can_be_resumed) {
    expect_error(ErrorKind::model, "no such folder", [&] { RunFolder::open(folder_ + "/missing"); });
    expect_error(ErrorKind::model, "no run folder", [&] { RunFolder::open(folder_); });
}

TEST_F(OnDisk, a_model_is_a_runs_best_checkpoint_or_a_file) {
    const std::string path = folder_ + "/run", checkpoints = path + "/checkpoints/";
    {
        RunFolder run = RunFolder::create(path);
        expect_error(ErrorKind::model, "without a checkpoint", [&] { resolve_model(path); });
        run.save(2, {{}, {}}, -1);
        EXPECT_EQ(resolve_model(path), checkpoints + "step-000002.safetensors");
        run.save(4, {{}, {}}, 4);
        run.save(6, {{}, {}}, 4);
    }
    EXPECT_EQ(resolve_model(path), checkpoints + "step-000004.safetensors");
    EXPECT_EQ(resolve_model(checkpoints + "step-000006.safetensors"),
              checkpoints + "step-000006.safetensors");
    std::ofstream(path + "/best") << "../../../etc/passwd\n";
    EXPECT_EQ(resolve_model(path), checkpoints + "step-000006.safetensors");
    expect_error(ErrorKind::model, "no such file", [&] { resolve_model(folder_ + "/missing"); });
}

}  // namespace
}  // namespace onecycle
