// A job of several processes that train one model together, as a launcher starts them (mpirun,
// srun). Each has a device, or a share of the cores, and a share of the images; R of them compute
// what one does with TrainOptions::accumulate R times as large.
#pragma once

#include <memory>
#include <string>

namespace onecycle {

class Communicator;

// Where this process stands in its job.
struct RankPlace {
    int rank = 0, ranks = 1;
    int local_rank = 0, local_ranks = 1;  // among the ranks of this machine
    int node = 0, nodes = 1;              // machines, in the order of their first rank
    std::string host{};                   // this machine's name
};

// The job that a launcher started this process in, by its environment; null where none did, or the
// job has one rank. For Observer::ranks and ModelOptions::ranks; at most one call a process. MPI is
// opened at run time: a program starts without it. Throws Error(device) where there is a job but no
// MPI for it.
std::unique_ptr<Communicator> join_ranks();

RankPlace place_in(const Communicator& job);

// All ranks end well: waits for all of them. Nothing of the job may be used afterwards.
void finish(Communicator& job);

}  // namespace onecycle
