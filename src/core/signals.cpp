#include "core/signals.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace onecycle {
namespace {

// A handler can reach nothing but what lives outside all objects.
std::atomic<int> stopped_by{0};
std::atomic<const std::string*> answer_text{nullptr};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<const std::string*>::is_always_lock_free);

extern "C" void remember_stop(int signal) {
    if (signal == SIGINT && stopped_by.load() != 0) ::_exit(128 + SIGINT);
    int none = 0;
    if (!stopped_by.compare_exchange_strong(none, signal == SIGHUP ? SIGTERM : signal)) return;
    const int error = errno;
    if (const std::string* text = answer_text)
        if (::write(STDERR_FILENO, text->data(), text->size()) < 0) {
        }  // nobody is there to read it
    errno = error;
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
    answer_text = nullptr;
    for (std::size_t i = 0; i < signals.size(); ++i) sigaction(signals[i], &old_[i], nullptr);
}

void SignalGuard::answer(std::string text) {
    answer_text = &answers_.emplace_back(std::move(text));
}

int stop_signal() noexcept {
    return stopped_by;
}

}  // namespace onecycle
