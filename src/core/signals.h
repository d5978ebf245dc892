// Orderly stops, and saving when asked. A signal only sets a number, and is answered at once; the
// training asks for it after each step, and in the midst of one where the device can leave it.
#pragma once

#include <array>
#include <csignal>
#include <deque>
#include <string>

namespace onecycle {

// While it lives, the first SIGINT, SIGTERM, SIGHUP or SIGXCPU (the processor time that was allowed
// is used up) is remembered instead of ending the process, a SIGINT after it exits at once with
// code 130, SIGUSR1 asks for a checkpoint, and SIGPIPE is ignored (a closed pipe must not end a
// training). The destructor puts the old handlers back. One at a time.
class SignalGuard {
  public:
    SignalGuard();
    ~SignalGuard();
    SignalGuard(const SignalGuard&) = delete;
    SignalGuard& operator=(const SignalGuard&) = delete;

    // What the first stop from now on is answered with, on stderr, when it comes: the loop may be
    // in the middle of a long step. Never waits for a reader. Empty: nothing.
    void answer(std::string text);

  private:
    static constexpr std::array<int, 6> signals = {SIGINT, SIGTERM, SIGHUP, SIGXCPU, SIGUSR1, SIGPIPE};
    std::array<struct sigaction, signals.size()> old_{};
    std::deque<std::string> answers_;  // a handler may be reading one that has been replaced
    int terminal_ = -1;                // stderr once more, for writing without waiting
};

// Until a SignalGuard has its say: SIGUSR1 does nothing, a closed pipe and a file that has grown to
// its limit (SIGXFSZ) are errors of the write, EPIPE and EFBIG, as every other one.
void ignore_signals_of_writing();

// 0, or the first stop signal since the guard was made: SIGINT, SIGTERM (also for SIGHUP) or
// SIGXCPU. The program exits with 128 plus it.
int stop_signal() noexcept;

// Whether a SIGUSR1 has come since it was last asked.
bool save_requested() noexcept;

}  // namespace onecycle
