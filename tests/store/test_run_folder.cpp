// A run folder from its beginning to its end: files, locks, faults, loss of power.

#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <utility>
#include <vector>

#include "core/watched_file_system.h"
#include "store/checkpoints.h"
#include "store/small_run.h"

namespace onecycle {
namespace {

using namespace test;

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

TEST(RunFolder, what_a_killed_process_left_is_removed) {
    SimulatedFileSystem fs;
    train(fs);
    const auto expected = contents(fs);
    for (const char* garbage : {"run/latest.tmp", "run/checkpoints/step-000009.safetensors.1.tmp"}) {
        ASSERT_GT(fs.create_exclusive(garbage), 0);
    }
    RunFolders(fs).open("run");
    EXPECT_EQ(contents(fs), expected);
    for (const char* of_others : {"run/notes.tmp", "run/checkpoints/x.tmp", "run/checkpoints/step-9.tmp"}) {
        ASSERT_GT(fs.create_exclusive(of_others), 0);
        RunFolders(fs).open("run");
        EXPECT_TRUE(fs.has(of_others));
    }
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

TEST(CsvLog, drops_what_follows_a_row_that_is_doubled_or_no_number) {
    for (const char* wrong : {"1,1", "0,1", "-3,1", "x", ",", "99999999999999999999,1"}) {
        SimulatedFileSystem fs;
        write_file_atomically(fs, "log", std::string("step,loss\n0,1\n1,1\n") + wrong + "\n2,1\n");
        CsvLog log = RunFolders(fs).csv_log("log", "step,loss");
        EXPECT_EQ(log.keep_below(9), 2) << wrong;
        EXPECT_EQ(read_file(fs, "log"), "step,loss\n0,1\n1,1\n") << wrong;
    }
}

TEST(CsvLog, is_read_in_parts_whatever_its_size) {
    SimulatedFileSystem fs;
    std::string text = "step,loss\n";
    for (int step = 0; step < 30000; ++step) text += std::to_string(step) + ",0.25\n";
    write_file_atomically(fs, "log", text + "30000,");
    CsvLog log = RunFolders(fs).csv_log("log", "step,loss");
    EXPECT_EQ(read_file(fs, "log"), text);
    EXPECT_EQ(log.keep_below(30000), 30000);
    EXPECT_EQ(log.keep_below(20000), 20000);
    EXPECT_EQ(read_file(fs, "log"), text.substr(0, text.find("20000,")));
}

TEST_F(OnDisk, a_link_in_the_place_of_a_log_is_replaced_and_a_folder_is_named) {
    namespace fs = std::filesystem;
    const std::string log = folder_ + "/steps.csv", elsewhere = folder_ + "/elsewhere";
    std::ofstream(elsewhere) << "of mine";
    fs::create_symlink(elsewhere, log);
    RunFolders().csv_log(log, header).append("0,0.5");
    EXPECT_FALSE(fs::is_symlink(log));
    EXPECT_EQ(read_file(posix_file_system(), elsewhere), "of mine");
    fs::remove(log);
    fs::create_directory(log);
    expect_error(ErrorKind::io, "it is a folder; fix: move it away",
                 [&] { RunFolders().csv_log(log, header); });
    fs::remove(log);
    ASSERT_EQ(::mkfifo(log.c_str(), 0600), 0);
    expect_error(ErrorKind::io, "it is no regular file", [&] { RunFolders().csv_log(log, header); });
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

TEST(RunFolder, a_numbered_start_that_loses_power_at_any_call_costs_no_number) {
    const auto start = [](SimulatedFileSystem& fs) {
        RunFolder run = RunFolders(fs).create_numbered("runs", "photos");
        run.write("config.json", "{}");
        return run.path();
    };
    SimulatedFileSystem whole;
    EXPECT_EQ(start(whole), "runs/photos");
    const std::int64_t total = whole.calls;
    ASSERT_GT(total, 10);
    int begun = 0;
    for (std::int64_t call = 1; call <= total; ++call) {
        for (std::uint64_t damage = 0; damage < 20; ++damage) {
            SCOPED_TRACE(testing::Message() << "call " << call << " of " << total << ", damage " << damage);
            SimulatedFileSystem fs;
            fs.power_loss_at_call = call;
            try {
                start(fs);
            } catch (const Error&) {
            }
            fs.lose_power(damage);
            const bool first_begun = fs.has("runs/photos/config.json");
            begun += first_begun;
            ASSERT_EQ(start(fs), first_begun ? "runs/photos-2" : "runs/photos");
        }
    }
    EXPECT_GT(begun, 0);
}

TEST_F(OnDisk, automatic_names_are_numbered) {
    const auto begin = [&] {
        RunFolder run = RunFolder::create_numbered(folder_ + "/runs", "flowers");
        run.write("config.json", "{}");
        return run.path();
    };
    EXPECT_EQ(begin(), folder_ + "/runs/flowers");
    EXPECT_EQ(begin(), folder_ + "/runs/flowers-2");
    std::filesystem::remove_all(folder_ + "/runs/flowers");
    EXPECT_EQ(begin(), folder_ + "/runs/flowers") << "the first that is free";
}

TEST_F(OnDisk, a_number_is_taken_over_from_a_killed_start_and_from_nobody_else) {
    namespace fs = std::filesystem;
    const std::string runs = folder_ + "/runs";
    fs::create_directories(runs + "/flowers-3");
    fs::create_directory(folder_ + "/elsewhere");
    fs::create_directory_symlink(folder_ + "/elsewhere", runs + "/flowers");
    std::ofstream(runs + "/flowers-2") << "a file";
    for (const char* left : {".lock", "config.json.tmp"})
        std::ofstream(runs + "/flowers-3/" + left) << "4711";
    {
        RunFolder run = RunFolder::create_numbered(runs, "flowers");
        EXPECT_EQ(run.path(), runs + "/flowers-3");
        EXPECT_FALSE(fs::exists(run.file("config.json.tmp")));
        EXPECT_EQ(RunFolder::create_numbered(runs, "flowers").path(), runs + "/flowers-4") << "-3 is in use";
        run.remove_unless_begun();
    }
    EXPECT_TRUE(fs::is_empty(runs + "/flowers-3")) << "as it was found, without what was left";
    EXPECT_TRUE(fs::is_empty(folder_ + "/elsewhere"));
}

TEST_F(OnDisk, two_that_start_at_once_get_folders_of_their_own) {
    for (const bool other_has_ended : {false, true}) {
        const std::string runs = folder_ + (other_has_ended ? "/ended" : "/works");
        WatchedFileSystem fs;
        std::vector<RunFolder> other;
        bool first = true;
        fs.before = [&](const std::string& call, const std::string&) {
            // The folder is made and not yet locked.
            if (call != "open_update" || !std::exchange(first, false)) return 0;
            other.push_back(RunFolder::create_numbered(runs, "flowers"));
            other[0].write("config.json", "of the other");
            if (other_has_ended) other.clear();
            return 0;
        };
        RunFolder run = RunFolders(fs).create_numbered(runs, "flowers");
        EXPECT_EQ(run.path(), runs + "/flowers-2");
        EXPECT_EQ(read_file(posix_file_system(), runs + "/flowers/config.json"), "of the other");
    }
}

TEST_F(OnDisk, an_out_folder_must_be_new_or_empty) {
    std::ofstream(folder_ + "/file") << "text";
    expect_error(ErrorKind::io, "it is not empty", [&] { RunFolder::create(folder_); });
    expect_error(ErrorKind::io, "is a file", [&] { RunFolder::create(folder_ + "/file"); });
    expect_error(ErrorKind::io, "is a file", [&] { RunFolder::create(folder_ + "/file/run"); });
    std::filesystem::create_symlink(folder_ + "/nowhere", folder_ + "/dangling");
    expect_error(ErrorKind::io, "leads nowhere", [&] { RunFolder::check_out(folder_ + "/dangling"); });
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

// A disk of a network whose server has no locks.
class DiskWithoutLocks final : public WatchedFileSystem {
  public:
    int lock(int) override { return -EOPNOTSUPP; }
};

TEST_F(OnDisk, where_there_are_no_locks_the_file_itself_is_one) {
    DiskWithoutLocks disk;
    const std::string path = folder_ + "/run";
    {
        RunFolder first = RunFolders(disk).create(path);
        first.write("config.json", "{}");
        expect_error(ErrorKind::io, "fix: delete .lock if none does", [&] { RunFolders(disk).open(path); });
    }
    { const RunFolder ended = RunFolders(disk).open(path); }
    std::ofstream(path + "/.lock") << "4711";  // of a process that was killed
    expect_error(ErrorKind::io, "fix: delete .lock if none does", [&] { RunFolders(disk).open(path); });
    std::filesystem::remove(path + "/.lock");
    EXPECT_NO_THROW(RunFolders(disk).open(path));
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

TEST_F(OnDisk, a_run_that_never_began_takes_nothing_of_others_with_it) {
    namespace fs = std::filesystem;
    const std::string path = folder_ + "/run", elsewhere = folder_ + "/elsewhere";
    fs::create_directories(elsewhere + "/sub");
    std::ofstream(elsewhere + "/sub/mine") << "of mine";
    {
        RunFolder run = RunFolder::create(path);
        run.write("config.json", "{}");
        run.write("find/find.csv", "lr,loss\n");
        fs::create_directory_symlink(elsewhere, path + "/linked");
        std::ofstream(path + "/find/notes") << "of mine";
        EXPECT_TRUE(run.remove_unless_begun());
    }
    EXPECT_EQ(read_file(posix_file_system(), elsewhere + "/sub/mine"), "of mine");
    EXPECT_TRUE(fs::is_symlink(path + "/linked"));
    EXPECT_EQ(read_file(posix_file_system(), path + "/find/notes"), "of mine");
    EXPECT_FALSE(fs::exists(path + "/config.json"));
    EXPECT_FALSE(fs::exists(path + "/find/find.csv"));
    EXPECT_FALSE(fs::exists(path + "/.lock"));
}

TEST_F(OnDisk, a_run_that_stands_in_the_place_of_a_moved_one_is_left_alone) {
    namespace fs = std::filesystem;
    const std::string path = folder_ + "/run";
    for (const bool other_has_ended : {true, false}) {
        SCOPED_TRACE(other_has_ended);
        std::vector<RunFolder> other;
        {
            RunFolder moved = RunFolder::create(path);
            moved.write("config.json", "of the first");
            save(moved, 2);
            EXPECT_FALSE(moved.is_gone());
            fs::rename(path, folder_ + "/moved");
            other.push_back(RunFolder::create(path));
            other[0].write("config.json", "of the second");
            for (const int step : {2, 4, 6}) save(other[0], step);
            if (other_has_ended) other.clear();
            EXPECT_TRUE(moved.is_gone());
            expect_error(ErrorKind::io, "cannot save checkpoint", [&] { save(moved, 8); });
            expect_error(ErrorKind::io, "cannot write", [&] { moved.write("training.svg", "<svg/>"); });
            EXPECT_FALSE(moved.remove_unless_begun());
        }
        EXPECT_EQ(read_file(posix_file_system(), path + "/config.json"), "of the second");
        EXPECT_EQ(newest_valid_checkpoint(path)->step, 6);
        EXPECT_FALSE(fs::exists(checkpoint_path(path, 8)));
        EXPECT_EQ(fs::exists(path + "/.lock"), !other_has_ended) << "the second one's own";
        other.clear();
        fs::remove_all(path);
        fs::remove_all(folder_ + "/moved");
    }
}

TEST_F(OnDisk, a_lock_that_was_deleted_lets_two_work_never_for_long) {
    const std::string path = folder_ + "/run";
    RunFolder first = RunFolder::create(path);
    first.write("config.json", "{}");
    save(first, 2);
    std::filesystem::remove(path + "/.lock");
    EXPECT_FALSE(first.is_gone()) << "nobody else works in it";
    save(first, 4);
    const RunFolder second = RunFolder::open(path);
    EXPECT_TRUE(first.is_gone());
    EXPECT_FALSE(second.is_gone());
    expect_error(ErrorKind::io, "another process works in it", [&] { save(first, 6); });
}

TEST_F(OnDisk, a_config_that_was_deleted_alone_is_written_again) {
    const std::string path = folder_ + "/run";
    for (const bool resumed : {false, true}) {
        RunFolder run = resumed ? RunFolder::open(path) : RunFolder::create(path);
        if (!resumed) run.write("config.json", "the options");
        run.steps_log(header);
        std::filesystem::remove(path + "/config.json");
        EXPECT_FALSE(run.is_gone());
        std::string lines;
        run.save(2, {{}, {}}, -1, [&](LogLevel, const std::string& line) { lines += line; });
        EXPECT_EQ(run.read("config.json"), "the options");
        EXPECT_NE(lines.find("config.json again: it was deleted"), std::string::npos) << lines;
    }
    // Not so where all was deleted, which leaves the lock to `rm -r run/*`.
    const RunFolder run = RunFolder::open(path);
    for (const char* file : {"/config.json", "/steps.csv", "/latest"}) std::filesystem::remove(path + file);
    EXPECT_TRUE(run.is_gone());
}

TEST_F(OnDisk, a_range_test_that_was_killed_between_its_files_is_as_good_as_nothing) {
    namespace fs = std::filesystem;
    const std::string path = folder_ + "/find";
    const auto lay = [&](const std::string& name, const char* text = "") {
        fs::create_directories(fs::path(path + '/' + name).parent_path());
        std::ofstream(path + '/' + name) << text;
    };
    for (const auto& left :
         std::vector<std::vector<std::string>>{{"bad-images.txt"},
                                               {"find.csv", "find.svg.tmp"},
                                               {"find.csv", "find.svg", "find.json.tmp"},
                                               {"wd=0.1/find.csv", "wd=0.1/find.json", "wd=1/find.csv.tmp"},
                                               {"sweep.svg"}}) {
        for (const std::string& name : left) lay(name, "x");
        EXPECT_THROW(RunFolder::check_out(path), Error) << "without a lock it is somebody's: " << left[0];
        lay(".lock", "4711");
        EXPECT_NO_THROW(RunFolder::create(path)) << left[0];
        EXPECT_TRUE(fs::is_empty(path)) << left[0];
    }
    lay("find.csv", "x");
    for (const char* lock : {"mine", "0123456789012345678901"}) {
        lay(".lock", lock);
        EXPECT_THROW(RunFolder::check_out(path), Error) << lock;
    }
    lay(".lock", "4711");
    EXPECT_NO_THROW(RunFolder::check_out(path));
    for (const char* more : {"find.json", "notes", "a=b/notes", "config.json"}) {
        lay(more, "x");
        EXPECT_THROW(RunFolder::check_out(path), Error) << more;
        fs::remove(path + '/' + more);
    }
}

TEST_F(OnDisk, a_range_test_that_cannot_be_written_leaves_nothing) {
    WatchedFileSystem fs;
    fs.before = [](const std::string& call, const std::string& path) {
        return call == "rename" && path.ends_with("find.svg") ? -ENOSPC : 0;
    };
    {
        RunFolder run = RunFolders(fs).create(folder_ + "/find");
        run.write("find.csv", "lr,loss\n");
        EXPECT_THROW(run.write("find.svg", "<svg/>"), Error);
        EXPECT_TRUE(run.remove_unless_begun());
    }
    EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(OnDisk, a_pointer_that_cannot_be_written_costs_no_save_and_holds_no_deletion_up) {
    WatchedFileSystem fs;
    RunFolder run = RunFolders(fs).create(folder_ + "/run");
    run.write("config.json", "{}");
    save(run, 2);
    std::string lines;
    fs.before = [](const std::string& call, const std::string& path) {
        return call == "rename" && path.ends_with("/latest") ? -EPERM : 0;
    };
    for (const int step : {4, 6, 8}) {
        lines.clear();
        EXPECT_NO_THROW(
            run.save(step, {{}, {}}, -1, [&](LogLevel, const std::string& line) { lines += line + '\n'; }));
        EXPECT_NE(lines.find("run/latest: operation not permitted"), std::string::npos) << lines;
        EXPECT_EQ(std::ranges::count(lines, '\n'), 1) << lines;
    }
    EXPECT_EQ(steps_in(fs, run.path()), (std::vector<std::int64_t>{8, 6}));
    EXPECT_THROW(run.settle(), Error) << "in the end it is told";
    fs.before = {};
    run.settle();
    EXPECT_EQ(read_file(fs, run.path() + "/latest"), "step-000008.safetensors\n");
}

TEST_F(OnDisk, an_out_folder_whose_checkpoints_would_have_too_long_a_path_is_refused_before_any_work) {
    std::string path = folder_;
    while (path.size() < 4060) path += "/" + std::string(std::min<std::size_t>(200, 4070 - path.size()), 'x');
    expect_error(ErrorKind::io, "file name too long; fix: choose a shorter path",
                 [&] { RunFolder::check_out(path); });
}

// The machine's disk, as it is when it can only be read.
class ReadOnlyDisk final : public WatchedFileSystem {
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
    // What is no file stays, and is named.
    ASSERT_EQ(::mkfifo((run + "/pipe").c_str(), 0600), 0);
    expect_error(ErrorKind::io, "it is no regular file", [&] { opened.write("pipe", "text"); });
    fs::create_directory(run + "/folder");
    expect_error(ErrorKind::io, "it is a folder", [&] { opened.write("folder", "text"); });
}

TEST_F(OnDisk, only_a_run_can_be_resumed) {
    expect_error(ErrorKind::model, "no such folder", [&] { RunFolder::open(folder_ + "/missing"); });
    expect_error(ErrorKind::model, "no run folder", [&] { RunFolder::open(folder_); });
}

}  // namespace
}  // namespace onecycle
