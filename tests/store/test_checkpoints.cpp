// Which checkpoint of a run counts, and what becomes of the others.

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "store/checkpoints.h"
#include "store/small_run.h"

namespace onecycle {
namespace {

using namespace test;

TEST(Checkpoints, a_damaged_newest_checkpoint_is_passed_over_with_one_line_and_set_aside) {
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

TEST(Checkpoints, a_checkpoint_under_another_ones_name_is_passed_over) {
    SimulatedFileSystem fs;
    train(fs);
    ASSERT_EQ(fs.rename("run/checkpoints/step-000004.safetensors", "run/checkpoints/step-000010.safetensors"),
              0);
    EXPECT_EQ(RunFolders(fs).newest_valid_checkpoint("run")->step, 8);
}

// A file system in which the one file cannot be opened or read just now.
class Unreadable final : public SimulatedFileSystem {
  public:
    std::string path;
    int code = 0;
    int open_read(const std::string& file) override {
        return file == path ? -code : SimulatedFileSystem::open_read(file);
    }
};

TEST(Checkpoints, a_checkpoint_that_cannot_be_read_just_now_is_an_io_error_and_nothing_is_touched) {
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

TEST(Checkpoints, any_failing_read_of_an_opening_renames_no_checkpoint) {
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

TEST(Checkpoints, where_all_checkpoints_are_damaged_nothing_begins_anew_and_each_is_named) {
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

TEST(Checkpoints, a_checkpoint_of_another_run_and_what_is_no_file_are_named_and_set_aside) {
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

TEST(Checkpoints, a_pointer_that_is_a_folder_costs_no_checkpoint) {
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

TEST(Checkpoints, those_that_are_gone_are_missed_and_nothing_begins_anew) {
    for (const bool folder_too : {false, true}) {
        SimulatedFileSystem fs;
        train(fs);
        for (const std::int64_t step : steps_in(fs, "run"))
            ASSERT_EQ(fs.unlink(checkpoint_path("run", step)), 0);
        if (folder_too) {
            ASSERT_EQ(fs.rmdir("run/checkpoints"), 0);
        }
        const auto before = contents(fs);
        try {
            RunFolders(fs).open("run");
            FAIL() << "it would begin anew";
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::model);
            EXPECT_EQ(error.why(), "its checkpoints are gone: 'latest' or 'best' tells that there were some");
        }
        EXPECT_EQ(contents(fs), before);
        // Where neither is there, the run was killed before it saved anything.
        for (const char* pointer : {"run/latest", "run/best"}) ASSERT_EQ(fs.unlink(pointer), 0);
        EXPECT_NO_THROW(RunFolders(fs).open("run"));
    }
}

TEST(Checkpoints, where_none_is_a_file_nothing_begins_anew) {
    SimulatedFileSystem fs;
    train(fs);
    for (const std::int64_t step : steps_in(fs, "run")) {
        ASSERT_EQ(fs.unlink(checkpoint_path("run", step)), 0);
        ASSERT_EQ(fs.mkdir(checkpoint_path("run", step)), 0);
    }
    EXPECT_THROW(RunFolders(fs).open("run"), Error);
    EXPECT_TRUE(fs.has("run/checkpoints/step-000008.safetensors"));
}

TEST(Checkpoints, what_was_set_aside_before_is_not_replaced) {
    SimulatedFileSystem fs;
    train(fs);
    const std::string newest = "run/checkpoints/step-000008.safetensors";
    for (const char* damaged : {".damaged", ".damaged-2"}) {
        fs.contents(newest).back() ^= std::byte{1};
        train(fs);
        EXPECT_TRUE(fs.has(newest + damaged));
        EXPECT_TRUE(fs.has(newest));
    }
    EXPECT_TRUE(fs.has(newest + ".damaged"));
}

class CheckpointsOnDisk : public OnDisk {};

TEST_F(CheckpointsOnDisk, a_link_into_a_disk_that_is_away_is_an_io_error_and_nothing_is_touched) {
    const std::string path = folder_ + "/run";
    {
        RunFolder run = RunFolder::create(path);
        run.write("config.json", "{}");
        for (const int step : {2, 4}) save(run, step);
    }
    std::filesystem::remove(checkpoint_path(path, 4));
    std::filesystem::create_symlink(folder_ + "/away/checkpoint", checkpoint_path(path, 4));
    expect_error(ErrorKind::io, "it is a link that leads nowhere", [&] { RunFolder::open(path); });
    EXPECT_TRUE(std::filesystem::is_symlink(checkpoint_path(path, 4)));
    EXPECT_TRUE(std::filesystem::exists(checkpoint_path(path, 2)));
}

TEST_F(CheckpointsOnDisk, a_pointer_or_checkpoint_that_is_a_pipe_or_a_gigabyte_holds_nothing_up) {
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

TEST_F(CheckpointsOnDisk, a_model_is_a_runs_best_checkpoint_or_a_file) {
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
