#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/file.h"
#include "core/simulated_file_system.h"
#include "temporary_folder.h"

namespace onecycle {
namespace {

using test::SimulatedFileSystem;

std::string temporary_names(const SimulatedFileSystem& fs) {
    std::string found;
    for (const std::string& path : fs.paths()) {
        if (path.ends_with(temporary_ending)) found += path + ' ';
    }
    return found;
}

// The number of calls that `action` makes when nothing fails.
template <class Action>
std::int64_t count_calls(SimulatedFileSystem& fs, Action action) {
    fs.calls = 0;
    action();
    return fs.calls;
}

struct Failure {
    int code;
    const char* words;  // nullptr: once is no failure at all
};
constexpr Failure failures[] = {{ENOSPC, "no space left on the device"},
                                {EDQUOT, "quota"},
                                {EIO, "input/output error"},
                                {EINTR, "interrupted"},
                                {0, ""}};

TEST(AtomicWrite, any_failure_leaves_the_old_or_the_new_file_and_no_temporary) {
    SimulatedFileSystem trial;
    write_file_atomically(trial, "file", "old");
    const std::int64_t total =
        count_calls(trial, [&] { write_file_atomically(trial, "file", "the new text"); });
    ASSERT_GE(total, 6);  // create, write, sync, close, rename, sync of the folder
    for (const Failure& failure : failures) {
        for (std::int64_t call = 1; call <= total; ++call) {
            for (const bool for_ever : {false, true}) {
                SCOPED_TRACE(testing::Message() << "errno " << failure.code << " at call " << call
                                                << (for_ever ? " for ever" : " once"));
                SimulatedFileSystem fs;
                write_file_atomically(fs, "file", "old");
                fs.calls = 0;
                fs.fault = {call, failure.code, for_ever};
                bool failed = false;
                try {
                    write_file_atomically(fs, "file", "the new text");
                } catch (const Error& error) {
                    failed = true;
                    EXPECT_EQ(error.kind(), ErrorKind::io);
                    const std::string line = error.what();
                    EXPECT_NE(line.find("file"), std::string::npos) << line;
                    std::string lower = line;
                    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
                    EXPECT_NE(lower.find(failure.words), std::string::npos) << line;
                }
                const bool harmless = failure.code == 0 || (failure.code == EINTR && !for_ever);
                EXPECT_FALSE(harmless && failed);
                fs.fault = {};
                const std::string text = read_file(fs, "file");
                EXPECT_TRUE(text == "the new text" || (failed && text == "old")) << text;
                const bool unlink_fails = for_ever && (failure.code == EIO || failure.code == EINTR);
                EXPECT_TRUE(unlink_fails || temporary_names(fs).empty()) << temporary_names(fs);
            }
        }
    }
}

TEST(AtomicWrite, a_power_loss_at_any_call_leaves_the_old_or_the_new_file) {
    SimulatedFileSystem trial;
    write_file_atomically(trial, "file", "old");
    const std::int64_t total =
        count_calls(trial, [&] { write_file_atomically(trial, "file", "the new text"); });
    for (std::int64_t call = 1; call <= total + 1; ++call) {
        for (std::uint64_t damage = 0; damage < 20; ++damage) {
            SimulatedFileSystem fs;
            write_file_atomically(fs, "file", "old");
            fs.calls = 0;
            fs.power_loss_at_call = call;
            bool done = false;
            try {
                write_file_atomically(fs, "file", "the new text");
                done = true;
            } catch (const Error&) {
            }
            fs.lose_power(damage);
            const std::string text = read_file(fs, "file");
            EXPECT_TRUE(text == "the new text" || (!done && text == "old"))
                << "call " << call << ": " << text;
        }
    }
}

class OnDisk : public testing::Test {
  protected:
    FileSystem& fs_ = posix_file_system();
    const test::TemporaryFolder temporary_;
    const std::string folder_ = temporary_.path();
};

TEST_F(OnDisk, what_is_written_is_read_and_nothing_else_stays) {
    make_directories(fs_, folder_ + "/a/b//c/");
    const std::string path = folder_ + "/a/b/c/text";
    write_file_atomically(fs_, path, "one");
    write_file_atomically(fs_, path, "two");
    EXPECT_EQ(read_file(fs_, path), "two");
    std::vector<std::string> names;
    ASSERT_EQ(fs_.list(folder_ + "/a/b/c", names), 0);
    EXPECT_EQ(names, std::vector<std::string>{"text"});
}

TEST_F(OnDisk, a_link_in_the_place_of_the_temporary_file_is_not_followed) {
    const std::string victim = folder_ + "/victim", path = folder_ + "/file";
    std::ofstream(victim) << "precious";
    ASSERT_EQ(symlink(victim.c_str(), (path + ".tmp").c_str()), 0);
    write_file_atomically(fs_, path, "text");
    EXPECT_EQ(read_file(fs_, victim), "precious");
    EXPECT_EQ(read_file(fs_, path), "text");
}

TEST_F(OnDisk, only_regular_files_are_read_and_a_pipe_does_not_block) {
    const std::string pipe = folder_ + "/pipe";
    ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
    for (const std::string& path : {pipe, folder_, folder_ + "/missing"}) {
        try {
            InputFile(fs_, path, ErrorKind::model);
            FAIL() << path;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::model) << error.what();
        }
    }
}

TEST(ParentDirectory, is_that_of_the_last_name) {
    EXPECT_EQ(parent_directory("a"), ".");
    EXPECT_EQ(parent_directory("a/b"), "a");
    EXPECT_EQ(parent_directory("a//b/"), "a");
    EXPECT_EQ(parent_directory("/a"), "/");
    EXPECT_EQ(parent_directory("/"), "/");
}

}  // namespace
}  // namespace onecycle
