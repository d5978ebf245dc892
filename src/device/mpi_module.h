// What the program and its MPI module (src/mpi) know of each other. The module is all that is linked
// with MPI; it takes words and errors from the program, and so needs nothing else of it.
#pragma once

#include <string>

#include "device/communicator.h"

namespace onecycle {

// What the module may call of the program.
struct MpiHost {
    // Changes with this file and with Communicator: a module of another version is not used.
    static constexpr int current_version = 2;

    int version = current_version;
    // How long a rank may be silent, in seconds; 0: for ever.
    double patience = 0;
    // A message is at most so many bytes.
    std::size_t message = 0;
    // Throws Error(device): this function of MPI failed, and what MPI says.
    [[noreturn]] void (*fail)(const char* function, const std::string& why) = nullptr;
    // Writes the line that says which rank is lost. Any thread.
    void (*say_lost)(int rank, const std::string& host, const std::string& why) noexcept = nullptr;
    void (*warn)(const std::string& line) noexcept = nullptr;
};

// The module's functions, by these names. Null: of another version.
extern "C" {
// "Open MPI 4.1.4"; works without a job.
using OnecycleMpiLibrary = const char*(int version);  // onecycle_mpi_library
// Starts MPI. The caller owns the result.
using OnecycleOpenMpi = Communicator*(const MpiHost& host);  // onecycle_open_mpi
}

}  // namespace onecycle
