// Signals, and readers that do not read, as they come from outside.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <functional>
#include <optional>
#include <thread>

#include "cli/output_queue.h"
#include "cli/program.h"
#include "core/signals.h"

namespace onecycle::test {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;
using namespace std::chrono_literals;

class Stopping : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        place_ = new Workplace;
        ASSERT_EQ(place_->run({"demo-data", "data", "--classes", "3", "--images", "20", "--size", "40"}).code,
                  0);
        ASSERT_EQ(place_->run(train("whole", "2")).code, 0);
    }
    static void TearDownTestSuite() { delete place_; }

    // Six updates an epoch.
    static Words train(const std::string& out, const std::string& epochs) {
        return {"train", "data",         "--arch", "resnet18", "--size", "32",    "--max-lr",
                "0.02",  "--batch-size", "8",      "--epochs", epochs,   "--out", out};
    }

    static void expect_whole(const std::string& run) {
        const std::string last = "/checkpoints/step-000012.safetensors";
        EXPECT_TRUE(place_->read(run + last) == place_->read("whole" + last)) << run;
        EXPECT_EQ(place_->read(run + "/steps.csv"), place_->read("whole/steps.csv"));
    }

    static inline Workplace* place_ = nullptr;
};

// The exit code of a child that ends within that time, else -1: then it is killed.
int code_within(pid_t child, std::chrono::seconds limit) {
    const auto end = std::chrono::steady_clock::now() + limit;
    int status = 0;
    while (::waitpid(child, &status, WNOHANG) == 0) {
        if (std::chrono::steady_clock::now() > end) {
            ::kill(child, SIGKILL);
            ::waitpid(child, &status, 0);
            return -1;
        }
        std::this_thread::sleep_for(10ms);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void set_limit(int resource, rlim_t soft) {
    const rlimit limit{soft, RLIM_INFINITY};
    if (::setrlimit(resource, &limit) != 0) ::_exit(124);
}

// A pipe in which there is no room for more than a page.
struct SmallPipe {
    SmallPipe() {
        if (::pipe(ends) != 0 || ::fcntl(ends[1], F_SETPIPE_SZ, 4096) < 0) ADD_FAILURE();
    }
    ~SmallPipe() {
        ::close(ends[0]);
        ::close(ends[1]);
    }
    int ends[2];
};

TEST_F(Stopping, sigusr1_saves_a_checkpoint_and_goes_on_to_the_same_bytes) {
    const Outcome outcome = place_->run_until("asked/config.json", SIGUSR1, train("asked", "2"));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_NE(outcome.out.find("of 12, as asked"), std::string::npos) << outcome.out;
    expect_whole("asked");
}

TEST_F(Stopping, sigterm_and_sigxcpu_save_and_leave_with_their_number) {
    for (const int signal : {SIGTERM, SIGXCPU}) {
        const std::string run = "stopped-" + std::to_string(signal);
        const Outcome outcome = place_->run_until(run + "/steps.csv", signal, train(run, "2"));
        EXPECT_EQ(outcome.code, 128 + signal) << outcome.err;
        const Outcome resumed = place_->run({"train", "--resume", run});
        EXPECT_EQ(resumed.code, 0) << resumed.err;
        expect_whole(run);
    }
}

TEST_F(Stopping, a_limit_of_processor_time_is_a_stop) {
    const Outcome outcome =
        place_->finish(place_->start_prepared(train("limited", "1000"), [] { set_limit(RLIMIT_CPU, 6); }));
    EXPECT_EQ(outcome.code, 128 + SIGXCPU) << outcome.err;
    EXPECT_NE(outcome.err.find("--resume limited"), std::string::npos) << outcome.err;
    EXPECT_TRUE(fs::exists(*place_ / "limited/latest"));
}

TEST_F(Stopping, a_limit_of_the_files_size_is_an_error_of_the_save) {
    const Outcome outcome =
        place_->finish(place_->start_prepared(train("small", "2"), [] { set_limit(RLIMIT_FSIZE, 1 << 20); }));
    EXPECT_EQ(outcome.code, 5) << outcome.err;
    EXPECT_NE(outcome.err.find("file too large"), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find("ulimit -f"), std::string::npos) << outcome.err;
}

TEST_F(Stopping, a_pipe_that_nobody_reads_holds_up_neither_training_nor_saves) {
    SmallPipe pipe;
    const pid_t child = place_->start_prepared(train("unread", "2"), [&] {
        ::dup2(pipe.ends[1], STDOUT_FILENO);
        ::dup2(pipe.ends[1], STDERR_FILENO);
        const std::string full(4096, '-');  // another program has left it so
        if (::write(pipe.ends[1], full.data(), full.size()) != 4096) ::_exit(124);
    });
    EXPECT_TRUE(place_->appears("unread/checkpoints/step-000012.safetensors"));
    EXPECT_TRUE(place_->appears("unread/training.svg"));
    // Its last lines are waited for, and nothing was lost.
    ::close(pipe.ends[1]);
    std::string text;
    char bytes[1024];
    for (ssize_t n; (n = ::read(pipe.ends[0], bytes, sizeof bytes)) > 0;)
        text.append(bytes, static_cast<std::size_t>(n));
    pipe.ends[1] = -1;
    EXPECT_EQ(code_within(child, 20s), 0);
    EXPECT_NE(text.find("Run: unread"), std::string::npos) << text;
    expect_whole("unread");
}

TEST_F(Stopping, a_pipe_that_nobody_reads_does_not_hold_up_a_stop) {
    SmallPipe pipe;
    const pid_t child = place_->start_prepared(train("unheard", "1000"), [&] {
        ::dup2(pipe.ends[1], STDOUT_FILENO);
        ::dup2(pipe.ends[1], STDERR_FILENO);
        const std::string full(4096, '-');
        if (::write(pipe.ends[1], full.data(), full.size()) != 4096) ::_exit(124);
    });
    EXPECT_TRUE(place_->appears("unheard/checkpoints/step-000006.safetensors"));
    ::kill(child, SIGTERM);
    EXPECT_EQ(code_within(child, 20s), 143);
    EXPECT_TRUE(fs::exists(*place_ / "unheard/latest"));
}

// How many bytes wait in a pipe.
int waiting(const SmallPipe& pipe) {
    int bytes = -1;
    EXPECT_EQ(::ioctl(pipe.ends[0], FIONREAD, &bytes), 0);
    return bytes;
}

void wait_for(const std::function<bool()>& done) {
    for (int tries = 0; !done() && tries < 6000; ++tries) std::this_thread::sleep_for(10ms);
    EXPECT_TRUE(done());
}

TEST_F(Stopping, a_list_on_stdin_that_never_ends_does_not_hold_up_a_stop) {
    for (const int signal : {SIGTERM, SIGHUP, SIGINT}) {
        SmallPipe list;
        const pid_t child =
            place_->start_prepared({"predict", "-", "--model", "whole"}, [&] { ::dup2(list.ends[0], 0); });
        ASSERT_EQ(::write(list.ends[1], "data\n", 5), 5);
        wait_for([&] { return waiting(list) == 0; });
        std::string name;
        std::getline(std::ifstream("/proc/" + std::to_string(child) + "/comm"), name);
        EXPECT_EQ(name, "onecycle") << "pgrep finds it";
        ::kill(child, signal);
        EXPECT_EQ(code_within(child, 5s), signal == SIGINT ? 130 : 143);
    }
}

TEST_F(Stopping, answers_that_nobody_reads_do_not_hold_up_a_stop_and_are_not_a_success) {
    const Words predict = {"predict", "data", "data", "--model", "whole"};
    const auto with_json = [](Words words) {
        words.push_back("--json");
        return words;
    };
    for (const Words& words : {predict, with_json(predict)}) {
        SmallPipe pipe;
        const pid_t child = place_->start_prepared(words, [&] { ::dup2(pipe.ends[1], STDOUT_FILENO); });
        wait_for([&] { return waiting(pipe) > 3500; });
        std::this_thread::sleep_for(200ms);
        ::kill(child, SIGTERM);
        EXPECT_EQ(code_within(child, 5s), 143) << words.back();
    }
    // Where nothing tells that it waits, it may be stopped before: the code is the same.
    const Words eval = {"eval", "data", "--model", "whole"};
    for (const Words& words : {eval, with_json(eval)}) {
        SmallPipe pipe;
        const std::string full(4096, '-');
        ASSERT_EQ(::write(pipe.ends[1], full.data(), full.size()), 4096);
        const pid_t child = place_->start_prepared(words, [&] {
            ::dup2(pipe.ends[1], STDOUT_FILENO);
            ::dup2(pipe.ends[1], STDERR_FILENO);
        });
        std::this_thread::sleep_for(3s);
        ::kill(child, SIGTERM);
        EXPECT_EQ(code_within(child, 5s), 143) << words.back();
    }
}

TEST_F(Stopping, answers_that_find_no_room_are_no_success) {
    for (const Words& words : {Words{"predict", "data"},
                               {"predict", "data", "--json"},
                               {"eval", "data"},
                               {"eval", "data", "--json"},
                               {"info", "whole"}}) {
        Words all = words;
        if (words[0] != "info") all.insert(all.end(), {"--model", "whole"});
        const Outcome outcome = place_->finish(
            place_->start_prepared(all, [] { ::dup2(::open("/dev/full", O_WRONLY), STDOUT_FILENO); }));
        EXPECT_EQ(outcome.code, 5) << words[0] << " " << words.back();
        EXPECT_NE(outcome.err.find("cannot write: stdout: no space left"), std::string::npos) << outcome.err;
    }
}

// Ctrl-S, then signals: the terminal shows nothing more.
TEST_F(Stopping, a_terminal_that_was_halted_holds_up_neither_a_stop_nor_a_second_ctrl_c) {
    for (const bool twice : {false, true}) {
        const std::string run = twice ? "halted-twice" : "halted";
        int terminal = -1;
        const pid_t child = place_->start_on_terminal(train(run, "1000"), terminal);
        char bytes[4096];
        std::string shown;
        while (shown.find("epoch 0") == std::string::npos) {
            const ssize_t n = ::read(terminal, bytes, sizeof bytes);
            if (n <= 0) break;
            shown.append(bytes, static_cast<std::size_t>(n));
        }
        EXPECT_EQ(::write(terminal, "\x13", 1), 1);
        EXPECT_TRUE(place_->appears(run + "/checkpoints/step-000012.safetensors")) << "it goes on";
        ::kill(child, twice ? SIGINT : SIGTERM);
        if (twice) ::kill(child, SIGINT);
        EXPECT_EQ(code_within(child, 20s), twice ? 130 : 143);
        ::close(terminal);
    }
}

TEST(OutputQueue, leaves_out_what_nobody_reads_and_says_how_much) {
    SmallPipe pipe;
    std::string text;
    {
        cli::OutputQueue queue(pipe.ends[1]);
        const std::string line = std::string(999, 'x') + "\n";
        for (int i = 0; i < 1000; ++i) queue.offer(line);
        EXPECT_FALSE(queue.idle());
        std::thread reader([&] {
            char bytes[4096];
            for (ssize_t n; (n = ::read(pipe.ends[0], bytes, sizeof bytes)) > 0;) {
                text.append(bytes, static_cast<std::size_t>(n));
                if (text.ends_with("result\n")) return;
            }
        });
        EXPECT_EQ(queue.deliver("result\n"), 0);
        EXPECT_TRUE(queue.idle());
        reader.join();
    }
    const auto lines = std::count(text.begin(), text.end(), '\n') - 2;
    EXPECT_GT(lines, 100);
    EXPECT_NE(text.find("(" + std::to_string(1000 - lines) + " lines were left out here"), std::string::npos);
}

TEST(OutputQueue, has_patience_once_after_a_stop) {
    const SignalGuard guard;
    const auto seconds_of = [](const auto& work) {
        const auto begin = std::chrono::steady_clock::now();
        work();
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    const std::string line = std::string(999, 'x') + "\n";
    for (const bool read_slowly : {false, true}) {
        SmallPipe pipe;
        std::optional<cli::OutputQueue> queue(pipe.ends[1]);
        std::atomic<bool> over = false;
        ssize_t received = 0, sent = 0;
        char bytes[1000];
        std::thread reader([&] {
            while (read_slowly && !over) {
                received += ::read(pipe.ends[0], bytes, sizeof bytes);
                std::this_thread::sleep_for(300ms);
            }
        });
        const auto deliver = [&] {
            sent += std::ssize(line);
            return queue->deliver(line);
        };
        ::raise(SIGTERM);
        int failed = 0;
        const double first = seconds_of([&] {
            while (failed == 0) failed = deliver();
        });
        EXPECT_EQ(failed, EINTR);
        EXPECT_GT(first, 0.9);
        EXPECT_LT(first, 3);
        const double rest = seconds_of([&] {
            for (int i = 0; i < 10; ++i) EXPECT_EQ(deliver(), EINTR);
            queue.reset();
        });
        EXPECT_LT(rest, 0.5);
        over = true;
        reader.join();
        // What it has left behind in a write ends when all is read.
        while (received < sent) received += ::read(pipe.ends[0], bytes, sizeof bytes);
    }
}

TEST(OutputQueue, tells_what_a_result_failed_of) {
    SmallPipe pipe;
    ::close(pipe.ends[0]);
    pipe.ends[0] = -1;
    ::signal(SIGPIPE, SIG_IGN);
    EXPECT_EQ(cli::OutputQueue(pipe.ends[1]).deliver("result\n"), EPIPE);
    EXPECT_EQ(cli::OutputQueue(-1).deliver("result\n"), EBADF);
}

}  // namespace
}  // namespace onecycle::test
