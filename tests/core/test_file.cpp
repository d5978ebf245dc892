#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <utility>

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

// What an Error says; empty: there was none.
template <class Action>
std::string refusal(Action action, ErrorKind kind = ErrorKind::io) {
    try {
        action();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), kind) << error.what();
        return error.what();
    }
    return "";
}

TEST(FileError, each_failure_of_the_system_is_answered_with_what_helps) {
    for (const auto& [code, fix] : {std::pair{ENOSPC, "free some space"},
                                    {EDQUOT, "a larger quota"},
                                    {EROFS, "a place that can be written"},
                                    {EACCES, "check who owns it"},
                                    {EPERM, "check who owns it"},
                                    {ENOENT, "check the path"},
                                    {EMFILE, "ulimit -n"},
                                    {ENFILE, "ulimit -n"},
                                    {EIO, "check the disk"},
                                    {ELOOP, "in the link's place"},
                                    {ENAMETOOLONG, "a shorter path"},
                                    {ENOTDIR, "what it stands on"}}) {
        const std::string text = file_error("cannot", "file", code).what();
        const std::size_t at = text.find("; fix: ");
        ASSERT_NE(at, std::string::npos) << text;
        EXPECT_NE(text.find(fix, at), std::string::npos) << text;
        EXPECT_TRUE(std::islower(static_cast<unsigned char>(text[std::string("cannot: file: ").size()])))
            << text;
    }
}

TEST(MakeDirectories, any_failure_is_reported_and_the_same_call_works_again) {
    SimulatedFileSystem trial;
    const std::int64_t total = count_calls(trial, [&] { make_directories(trial, "a/b/c"); });
    ASSERT_GE(total, 9);  // a look, the folder and a sync each
    for (const int code : {EIO, ENOSPC, EACCES, EINTR}) {
        for (std::int64_t call = 1; call <= total; ++call) {
            SCOPED_TRACE(testing::Message() << "errno " << code << " at call " << call);
            SimulatedFileSystem fs;
            fs.fault = {call, code, false};
            const std::string why = refusal([&] { make_directories(fs, "a/b/c"); });
            EXPECT_TRUE(why.empty() || (code != EINTR && why.starts_with("cannot make folder: "))) << why;
            fs.fault = {};
            make_directories(fs, "a/b/c");
            EXPECT_TRUE(fs.has("a/b/c"));
        }
    }
    SimulatedFileSystem fs;
    write_file_atomically(fs, "a", "text");
    EXPECT_NE(refusal([&] { make_directories(fs, "a"); }).find("not a directory"), std::string::npos);
}

TEST(InputFile, any_failing_read_is_an_io_error_and_a_file_that_shrinks_is_named) {
    for (std::int64_t call = 1; call <= 3; ++call) {  // open, status, read
        SimulatedFileSystem fs;
        write_file_atomically(fs, "file", "some text");
        fs.calls = 0;
        fs.fault = {call, EIO, false};
        EXPECT_NE(refusal([&] { read_file(fs, "file", ErrorKind::model); }).find("input/output"),
                  std::string::npos);
    }
    SimulatedFileSystem fs;
    write_file_atomically(fs, "file", "some text");
    EXPECT_NE(refusal([&] { read_file(fs, "file", ErrorKind::io, 5); }).find("too large"), std::string::npos);
    InputFile other(fs, "file");
    InputFile file = std::move(other);
    fs.contents("file").resize(4);
    std::string text(9, ' ');
    const auto read = [&] { file.read_at(std::as_writable_bytes(std::span(text)), 0); };
    EXPECT_NE(refusal(read).find("became shorter"), std::string::npos);
    write_file_atomically(fs, "longer", "another text");
    file = InputFile(fs, "longer");
    read();
    EXPECT_EQ(text, "another t");
}

TEST(AtomicWrite, names_that_killed_processes_left_are_passed_over_a_hundred_times) {
    SimulatedFileSystem fs;
    for (int k = 0; k < 100; ++k) {
        EXPECT_EQ(refusal([&] { write_file_atomically(fs, "file", std::to_string(k)); }), "");
        const std::string left = k == 0 ? "file.tmp" : "file." + std::to_string(k) + ".tmp";
        ASSERT_GT(fs.create_exclusive(left), 0) << left;
    }
    EXPECT_NE(refusal([&] { write_file_atomically(fs, "file", "no more"); }).find("file exists"),
              std::string::npos);
    EXPECT_EQ(read_file(fs, "file"), "99");
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

TEST_F(OnDisk, an_output_replaces_only_what_it_may) {
    namespace fs = std::filesystem;
    const OutputRule plain, forced{.force = true}, own{.own_mark = "made by us"};
    const auto why = [&](const std::string& name, const OutputRule& rule) {
        return refusal([&] { write_output(fs_, folder_ + "/" + name, "made by us, anew", rule); });
    };
    EXPECT_EQ(why("new", plain), "");
    EXPECT_NE(why("new", plain).find("the file exists"), std::string::npos);
    EXPECT_EQ(why("new", own), "");
    EXPECT_EQ(why("new", forced), "");
    std::ofstream(folder_ + "/theirs") << "text";
    EXPECT_NE(why("theirs", own).find("onecycle did not make it"), std::string::npos);
    EXPECT_EQ(read_file(fs_, folder_ + "/theirs"), "text");
    fs::create_directory(folder_ + "/folder");
    fs::create_symlink(folder_ + "/theirs", folder_ + "/link");
    ASSERT_EQ(mkfifo((folder_ + "/pipe").c_str(), 0600), 0);
    EXPECT_NE(why("folder", forced).find("it is a folder"), std::string::npos);
    EXPECT_NE(why("link", forced).find("it is a link"), std::string::npos);
    EXPECT_NE(why("pipe", forced).find("no regular file"), std::string::npos);
    EXPECT_NE(why("none/file", forced).find("no such file"), std::string::npos);
    EXPECT_NE(why("theirs/file", forced).find("not a directory"), std::string::npos);
    EXPECT_EQ(read_file(fs_, folder_ + "/theirs"), "text");
}

TEST_F(OnDisk, a_name_that_is_too_long_beside_its_temporary_is_known_before_the_work) {
    const auto why = [&](std::size_t length) {
        const std::string path = folder_ + "/" + std::string(length, 'n');
        const std::string checked = refusal([&] { check_output(fs_, path, {.force = true}); });
        EXPECT_EQ(refusal([&] { write_file_atomically(fs_, path, "text"); }), checked) << length;
        return checked;
    };
    EXPECT_EQ(why(251), "");
    for (const std::size_t length : {252, 255, 256, 5000})
        EXPECT_NE(why(length).find("file name too long; fix: choose a shorter path"), std::string::npos);
    // One that a process left behind takes the next name, which is longer.
    std::ofstream(folder_ + "/" + std::string(250, 'n') + ".tmp") << "left";
    EXPECT_NE(why(250).find("file name too long"), std::string::npos);
    std::ofstream(folder_ + "/" + std::string(249, 'n') + ".tmp") << "left";
    EXPECT_EQ(why(249), "");
}

TEST_F(OnDisk, whether_a_folder_can_be_written_is_told_and_nothing_stays) {
    EXPECT_EQ(fs_.writable(folder_), 0);
    EXPECT_EQ(fs_.writable(folder_ + "/missing"), -ENOENT);
    EXPECT_LT(fs_.writable("/proc"), 0) << "for the superuser, too";
    EXPECT_TRUE(std::filesystem::is_empty(folder_));
    std::uint64_t free = 0;
    EXPECT_EQ(fs_.free_space(folder_, free), 0);
    EXPECT_GT(free, 0u);
    EXPECT_EQ(fs_.free_space(folder_ + "/missing", free), -ENOENT);
    std::vector<std::string> names;
    EXPECT_EQ(fs_.list(folder_ + "/missing", names), -ENOENT);
    EXPECT_EQ(fs_.sync_directory(folder_ + "/missing"), -ENOENT);
}

TEST(UserCacheFolder, is_where_the_environment_says_or_nowhere) {
    const char* names[] = {"XDG_CACHE_HOME", "HOME"};
    std::vector<std::string> old;
    for (const char* name : names) old.emplace_back(std::getenv(name) ? std::getenv(name) : "");
    const auto with = [&](const char* cache, const char* home) {
        setenv(names[0], cache, 1);
        setenv(names[1], home, 1);
        return user_cache_folder();
    };
    EXPECT_EQ(with("/cache", "/home/me"), "/cache/onecycle");
    EXPECT_EQ(with("", "/home/me"), "/home/me/.cache/onecycle");
    EXPECT_EQ(with("", ""), "");
    for (std::size_t k = 0; k < old.size(); ++k) setenv(names[k], old[k].c_str(), 1);
}

TEST(ParentDirectory, is_that_of_the_last_name) {
    EXPECT_EQ(parent_directory("a"), ".");
    EXPECT_EQ(parent_directory("a/b"), "a");
    EXPECT_EQ(parent_directory("a//b/"), "a");
    EXPECT_EQ(parent_directory("/a"), "/");
    EXPECT_EQ(parent_directory("/"), "/");
    EXPECT_EQ(parent_directory("//a"), "/");
    EXPECT_EQ(parent_directory(""), ".");
}

}  // namespace
}  // namespace onecycle
