#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "core/signals.h"

namespace onecycle {
namespace {

TEST(SignalGuard, remembers_the_first_stop_and_starts_afresh) {
    for (const auto& [sent, seen] :
         {std::pair(SIGINT, SIGINT), {SIGTERM, SIGTERM}, {SIGHUP, SIGTERM}, {SIGXCPU, SIGXCPU}}) {
        const SignalGuard guard;
        EXPECT_EQ(stop_signal(), 0);
        raise(sent);
        raise(SIGTERM);
        EXPECT_EQ(stop_signal(), seen);
    }
}

TEST(SignalGuard, ignores_a_closed_pipe) {
    const SignalGuard guard;
    raise(SIGPIPE);
    EXPECT_EQ(stop_signal(), 0);
}

TEST(SignalGuardDeathTest, answers_the_first_stop_at_once_and_only_that) {
    EXPECT_EXIT(
        {
            SignalGuard guard;
            guard.answer("too early\n");
            guard.answer("stopping\n");
            raise(SIGTERM);
            raise(SIGTERM);
            std::exit(stop_signal());
        },
        testing::ExitedWithCode(SIGTERM), "^stopping\n$");
}

TEST(SignalGuard, remembers_that_a_checkpoint_is_asked_for_once) {
    const SignalGuard guard;
    EXPECT_FALSE(save_requested());
    raise(SIGUSR1);
    EXPECT_EQ(stop_signal(), 0);
    EXPECT_TRUE(save_requested());
    EXPECT_FALSE(save_requested());
}

TEST(SignalGuardDeathTest, answers_into_a_pipe_that_nobody_reads_without_waiting) {
    EXPECT_EXIT(
        {
            int ends[2];
            if (::pipe(ends) != 0 || ::dup2(ends[1], STDERR_FILENO) < 0) std::exit(1);
            ::fcntl(ends[1], F_SETFL, O_NONBLOCK);
            const std::string much(4096, 'x');
            while (::write(ends[1], much.data(), much.size()) > 0) {
            }
            ::fcntl(ends[1], F_SETFL, 0);
            SignalGuard guard;
            guard.answer(std::string(8192, 'y'));
            ::alarm(20);
            raise(SIGTERM);
            std::exit(stop_signal());
        },
        testing::ExitedWithCode(SIGTERM), "");
}

TEST(SignalGuardDeathTest, a_file_at_its_limit_and_a_closed_pipe_are_errors_of_the_write) {
    EXPECT_EXIT(
        {
            ignore_signals_of_writing();
            for (const int signal : {SIGXFSZ, SIGPIPE, SIGUSR1}) raise(signal);
            std::exit(7);
        },
        testing::ExitedWithCode(7), "");
}

TEST(SignalGuard, puts_the_old_handlers_back) {
    static int caught = 0;
    const auto old = signal(SIGTERM, [](int) { ++caught; });
    { const SignalGuard guard; }
    raise(SIGTERM);
    EXPECT_EQ(caught, 1);
    signal(SIGTERM, old);
}

TEST(SignalGuardDeathTest, an_interrupt_after_any_stop_exits_at_once_with_130) {
    for (const int first : {SIGINT, SIGTERM, SIGHUP})
        EXPECT_EXIT(
            {
                const SignalGuard guard;
                raise(first);
                raise(SIGINT);
            },
            testing::ExitedWithCode(130), "");
}

}  // namespace
}  // namespace onecycle
