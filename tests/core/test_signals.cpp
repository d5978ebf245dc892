#include <gtest/gtest.h>

#include <cstdlib>

#include "core/signals.h"

namespace onecycle {
namespace {

TEST(SignalGuard, remembers_the_first_stop_and_starts_afresh) {
    for (const auto& [sent, seen] : {std::pair(SIGINT, SIGINT), {SIGTERM, SIGTERM}, {SIGHUP, SIGTERM}}) {
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
            std::_Exit(stop_signal());
        },
        testing::ExitedWithCode(SIGTERM), "^stopping\n$");
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
