// Orderly stops. A signal only sets a number, and is answered at once; the training loop asks for
// it after each step.
#pragma once

#include <array>
#include <csignal>
#include <deque>
#include <string>

namespace onecycle {

// While it lives, the first SIGINT, SIGTERM or SIGHUP is remembered instead of ending the process,
// a SIGINT after it exits at once with code 130, and SIGPIPE is ignored (a closed pipe must not end
// a training). The destructor puts the old handlers back. One at a time.
class SignalGuard {
  public:
    SignalGuard();
    ~SignalGuard();
    SignalGuard(const SignalGuard&) = delete;
    SignalGuard& operator=(const SignalGuard&) = delete;

    // What the first SIGINT, SIGTERM or SIGHUP from now on is answered with, on stderr, when it
    // comes: the loop may be in the middle of a long step. Empty: nothing.
    void answer(std::string text);

  private:
    static constexpr std::array<int, 4> signals = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    std::array<struct sigaction, signals.size()> old_{};
    std::deque<std::string> answers_;  // a handler may be reading one that has been replaced
};

// 0, or the first stop signal since the guard was made: SIGINT or SIGTERM (also for SIGHUP).
// The program exits with 128 plus it.
int stop_signal() noexcept;

}  // namespace onecycle
