#include "cli/output_queue.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

#include "core/signals.h"

namespace onecycle::cli {

namespace {

constexpr std::size_t most_bytes = std::size_t{256} << 10;  // that wait for a reader
constexpr std::chrono::milliseconds between_looks{20};      // for a stop signal, while waiting
constexpr std::chrono::seconds patience{1};                 // after one

// 0, or errno of what failed. A signal only interrupts.
int write_all(int file, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(file, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return errno;
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return 0;
}

bool has_reader(int file) {
    struct stat status {};
    return ::fstat(file, &status) == 0 &&
           (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode) || ::isatty(file));
}

// Signals go to threads that can be interrupted.
std::thread thread_without_signals(const std::function<void()>& work) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread thread;
    try {
        thread = std::thread(work);
    } catch (const std::system_error&) {  // no thread to be had
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return thread;
}

}  // namespace

struct OutputQueue::Shared {
    explicit Shared(int descriptor) : file(descriptor) {}

    void write_until_closed() {
        std::unique_lock lock(mutex);
        for (;;) {
            changed.wait(lock, [&] { return !texts.empty() || closed; });
            if (texts.empty()) return;
            const std::string text = std::move(texts.front());
            texts.pop_front();
            lock.unlock();
            const int failed = write_all(file, text);
            lock.lock();
            bytes -= text.size();
            if (failed) error = failed;
            changed.notify_all();
        }
    }

    void push(std::string_view text) {
        bytes += text.size();
        texts.emplace_back(text);
        changed.notify_all();
    }

    void say_what_was_left_out() {
        if (left_out == 0) return;
        push(fmt::format("({} lines were left out here: nobody read them)\n", left_out));
        left_out = 0;
    }

    // Waits until all is out; false when a stop signal came before, and patience has ended. It is
    // had once: what comes later does not wait any more.
    bool drain(std::unique_lock<std::mutex>& lock) {
        while (bytes > 0) {
            const auto now = std::chrono::steady_clock::now();
            if (stop_signal() != 0) {
                if (!end_of_patience) end_of_patience = now + patience;
                if (now >= *end_of_patience) return false;
            }
            changed.wait_for(lock, between_looks);
        }
        return true;
    }

    const int file;
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::string> texts;
    std::size_t bytes = 0, left_out = 0;  // not yet written; lines
    int error = 0;                        // the last errno
    std::optional<std::chrono::steady_clock::time_point> end_of_patience;
    bool closed = false;
    std::thread writer;  // none: written at once
};

OutputQueue::OutputQueue(int file) : shared_(std::make_shared<Shared>(file)) {
    if (has_reader(file))
        shared_->writer = thread_without_signals([shared = shared_] { shared->write_until_closed(); });
}

OutputQueue::~OutputQueue() {
    if (!shared_->writer.joinable()) return;
    std::unique_lock lock(shared_->mutex);
    shared_->say_what_was_left_out();
    const bool written = shared_->drain(lock);
    shared_->closed = true;
    shared_->changed.notify_all();
    lock.unlock();
    if (written)
        shared_->writer.join();
    else
        shared_->writer.detach();  // it ends with the process
}

void OutputQueue::offer(std::string_view text) {
    if (!shared_->writer.joinable()) {
        (void)write_all(shared_->file, text);  // whoever read it has gone away
        return;
    }
    const std::lock_guard lock(shared_->mutex);
    if (shared_->bytes + text.size() > most_bytes) {
        ++shared_->left_out;
        return;
    }
    shared_->say_what_was_left_out();
    shared_->push(text);
}

bool OutputQueue::idle() const {
    const std::lock_guard lock(shared_->mutex);
    return shared_->bytes == 0;
}

int OutputQueue::deliver(std::string_view text) {
    if (!shared_->writer.joinable()) return write_all(shared_->file, text);
    std::unique_lock lock(shared_->mutex);
    shared_->say_what_was_left_out();
    shared_->error = 0;
    shared_->push(text);
    return shared_->drain(lock) ? shared_->error : EINTR;
}

bool OutputQueue::same(int one, int other) {
    struct stat first {
    }, second{};
    return ::fstat(one, &first) == 0 && ::fstat(other, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

}  // namespace onecycle::cli
