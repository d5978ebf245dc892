// Independent pieces of work on several threads.
#pragma once

#include <cstddef>
#include <functional>

namespace onecycle {

// f(0) .. f(n-1), each once, in any order, on at most `threads` threads, the calling one among
// them. What an f throws is thrown here when all have ended; the pieces not yet begun are then left
// out. Where the machine has no more threads to give, those that run do all the work.
void for_each_index(std::size_t n, int threads, const std::function<void(std::size_t)>& f);

// How many of `wanted` threads, the calling one among them, the system starts just now: a limit
// (ulimit -u, a container's pids) may leave fewer. OpenMP ends the program where it gets fewer than it
// asks for. It starts them to know.
int threads_to_be_had(int wanted);

// Of `parts` processes on this machine that share its cores, binds this one to its part of them,
// unless the launcher has bound it to as many already. What asks how many cores there are is told
// the part from then on. (mpirun binds each of two processes to one core, however many there are.)
void use_share_of_cores(int part, int parts);

}  // namespace onecycle
