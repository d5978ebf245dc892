#include "mpi/watch.h"

#include <algorithm>
#include <csignal>
#include <utility>

#include "mpi/waiting.h"

namespace onecycle::mpi {

Watch::Watch(const MpiHost& host, std::vector<std::string> hosts, std::function<void()> end_job)
    : host_(host), hosts_(std::move(hosts)), end_job_(std::move(end_job)) {
    const int ranks = static_cast<int>(hosts_.size());
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    left_ = (rank + ranks - 1) % ranks;
    right_ = (rank + 1) % ranks;
    patience_ = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(host.patience));
    interval_ = std::min<Clock::duration>(std::chrono::seconds(1), patience_ / 5);
    MPI_Comm_dup(MPI_COMM_WORLD, &ranks_);
    MPI_Comm_set_errhandler(ranks_, MPI_ERRORS_RETURN);

    // Signals are for the threads of the program.
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    thread_ = std::thread([this] { run(); });
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

Watch::~Watch() {
    {
        const std::lock_guard lock(mutex_);
        state_ = State::ended;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void Watch::finish() {
    {
        const std::lock_guard lock(mutex_);
        state_ = State::leaving;
    }
    changed_.notify_all();
    thread_.join();
    MPI_Comm_free(&ranks_);
}

// Until it is time to look again.
Watch::State Watch::sleep() {
    std::unique_lock lock(mutex_);
    const auto pause = state_ == State::watching ? interval_ / 4 : std::chrono::milliseconds(1);
    const State before = state_;
    changed_.wait_for(lock, pause, [&] { return state_ != before; });
    return state_;
}

void Watch::run() {
    looked_ = Clock::now();
    beaten_ = looked_ - interval_;
    MPI_Irecv(&heard_, 1, MPI_CHAR, right_, 0, ranks_, &coming_);
    for (;;) {
        const State state = sleep();
        if (state == State::ended) return;
        take_beats();
        judge();
        give_beat(state == State::leaving);
        if (left_told_ && right_left_ && given_ == MPI_REQUEST_NULL) return;
    }
}

void Watch::take_beats() {
    while (!right_left_) {
        int there = 0;
        if (const int code = MPI_Test(&coming_, &there, MPI_STATUS_IGNORE); code != MPI_SUCCESS)
            lose("it cannot be reached: " + text_of(code));
        if (!there) return;
        silence_ = {};
        if (heard_ == leave)
            right_left_ = true;
        else
            MPI_Irecv(&heard_, 1, MPI_CHAR, right_, 0, ranks_, &coming_);
    }
}

void Watch::give_beat(bool last) {
    int gone = 1;
    if (given_ != MPI_REQUEST_NULL && MPI_Test(&given_, &gone, MPI_STATUS_IGNORE) != MPI_SUCCESS) return;
    const bool due = last || Clock::now() - beaten_ >= interval_;
    if (!gone || left_told_ || !due) return;
    own_ = last ? leave : alive;
    left_told_ = last;
    beaten_ = Clock::now();
    MPI_Isend(&own_, 1, MPI_CHAR, left_, 0, ranks_, &given_);
}

// Time in which this rank itself stood still (a stopped job, a machine asleep) does not count: a
// look adds no more than the time between two looks.
void Watch::judge() {
    const auto now = Clock::now();
    silence_ += std::min(now - std::exchange(looked_, now), interval_);
    if (!right_left_ && silence_ > patience_) {
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(patience_).count();
        lose("it has not answered for " + std::to_string(seconds) + " s");
    }
}

void Watch::lose(const std::string& why) {
    host_.say_lost(right_, hosts_[static_cast<std::size_t>(right_)], why);
    end_job_();
}

}  // namespace onecycle::mpi
