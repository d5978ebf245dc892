#include "core/signals.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace onecycle {
namespace {

// A handler can reach nothing but what lives outside all objects.
std::atomic<int> stopped_by{0}, answer_file{STDERR_FILENO};
std::atomic<bool> save_asked{false};
std::atomic<const std::string*> answer_text{nullptr};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<const std::string*>::is_always_lock_free);

// A pipe or a terminal opened once more, so that this process alone writes to it without waiting.
// -1: it is neither, or cannot be opened again.
int opened_without_waiting(int file) {
    struct stat status {};
    if (::fstat(file, &status) != 0) return -1;
    if (!S_ISFIFO(status.st_mode) && !::isatty(file)) return -1;
    const std::string path = "/proc/self/fd/" + std::to_string(file);
    return ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

void answer_at_once(const std::string& text) {
    pollfd ready{.fd = answer_file, .events = POLLOUT, .revents = 0};
    if (::poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT)) return;  // nobody reads there now
    if (::write(ready.fd, text.data(), text.size()) < 0) {
    }  // nobody is there to read it
}

extern "C" void remember_stop(int signal) {
    if (signal == SIGINT && stopped_by.load() != 0) ::_exit(128 + SIGINT);
    int none = 0;
    if (!stopped_by.compare_exchange_strong(none, signal == SIGHUP ? SIGTERM : signal)) return;
    const int error = errno;
    if (const std::string* text = answer_text) answer_at_once(*text);
    errno = error;
}

extern "C" void remember_save(int) {
    save_asked = true;
}

}  // namespace

SignalGuard::SignalGuard() : terminal_(opened_without_waiting(STDERR_FILENO)) {
    stopped_by = 0;
    save_asked = false;
    answer_file = terminal_ < 0 ? STDERR_FILENO : terminal_;
    for (std::size_t i = 0; i < signals.size(); ++i) {
        struct sigaction action {};
        action.sa_handler = signals[i] == SIGPIPE   ? SIG_IGN
                            : signals[i] == SIGUSR1 ? remember_save
                                                    : remember_stop;
        action.sa_flags = SA_RESTART;
        sigemptyset(&action.sa_mask);
        sigaction(signals[i], &action, &old_[i]);
    }
}

SignalGuard::~SignalGuard() {
    answer_text = nullptr;
    for (std::size_t i = 0; i < signals.size(); ++i) sigaction(signals[i], &old_[i], nullptr);
    answer_file = STDERR_FILENO;
    if (terminal_ >= 0) ::close(terminal_);
}

void SignalGuard::answer(std::string text) {
    answer_text = &answers_.emplace_back(std::move(text));
}

void ignore_signals_of_writing() {
    for (const int signal : {SIGUSR1, SIGPIPE, SIGXFSZ}) std::signal(signal, SIG_IGN);
}

int stop_signal() noexcept {
    return stopped_by;
}

bool save_requested() noexcept {
    return save_asked.exchange(false);
}

}  // namespace onecycle
