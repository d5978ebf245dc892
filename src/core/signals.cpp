#include "core/signals.h"

#include <unistd.h>

#include <atomic>

namespace onecycle {
namespace {

// A handler can reach nothing but what lives outside all objects.
std::atomic<int> stopped_by{0};
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void remember_stop(int signal) {
    if (signal == SIGINT && stopped_by.load() != 0) ::_exit(128 + SIGINT);
    int none = 0;
    stopped_by.compare_exchange_strong(none, signal == SIGHUP ? SIGTERM : signal);
}

}  // namespace

SignalGuard::SignalGuard() {
    stopped_by = 0;
    for (std::size_t i = 0; i < signals.size(); ++i) {
        struct sigaction action {};
        action.sa_handler = signals[i] == SIGPIPE ? SIG_IGN : remember_stop;
        action.sa_flags = SA_RESTART;
        sigemptyset(&action.sa_mask);
        sigaction(signals[i], &action, &old_[i]);
    }
}

SignalGuard::~SignalGuard() {
    for (std::size_t i = 0; i < signals.size(); ++i) sigaction(signals[i], &old_[i], nullptr);
}

int stop_signal() noexcept {
    return stopped_by;
}

}  // namespace onecycle
