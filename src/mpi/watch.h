// Notices a rank that is lost. The ranks stand in a ring: each tells its left neighbour every second
// that it lives, by a thread of its own, whatever it computes; the neighbour that hears nothing for
// too long says so, once, and ends the job.
#pragma once

#include <mpi.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "device/mpi_module.h"

namespace onecycle::mpi {

class Watch {
  public:
    // `hosts`: of each rank. `end_job` is called by the watching thread after the line was written.
    // MPI must allow calls by several threads at once.
    Watch(const MpiHost& host, std::vector<std::string> hosts, std::function<void()> end_job);
    ~Watch();  // ends the thread at once
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    // All ranks end well: takes leave of the neighbours, and waits for their leave.
    void finish();

  private:
    using Clock = std::chrono::steady_clock;
    enum class State { watching, leaving, ended };

    void run();
    State sleep();
    void take_beats();
    void give_beat(bool last);
    void judge();
    void lose(const std::string& why);

    const MpiHost host_;
    const std::vector<std::string> hosts_;
    const std::function<void()> end_job_;
    MPI_Comm ranks_ = MPI_COMM_NULL;
    int left_ = 0, right_ = 0;
    Clock::duration patience_{}, interval_{};  // between two beats

    // Of the thread.
    static constexpr char alive = 1, leave = 2;
    MPI_Request given_ = MPI_REQUEST_NULL, coming_ = MPI_REQUEST_NULL;
    char own_ = alive, heard_ = alive;
    bool left_told_ = false, right_left_ = false;  // that this rank leaves; that the right one did
    Clock::duration silence_{};
    Clock::time_point looked_, beaten_;

    std::mutex mutex_;
    std::condition_variable changed_;
    State state_ = State::watching;
    std::thread thread_;
};

}  // namespace onecycle::mpi
