// Calls of MPI, and waiting for them.
#pragma once

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "device/mpi_module.h"

namespace onecycle::mpi {

inline std::string text_of(int code) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    return std::string(text, static_cast<std::size_t>(length));
}

inline void check(const MpiHost& host, int code, const char* function) {
    if (code != MPI_SUCCESS) host.fail(function, text_of(code));
}

// MPI's own waiting spins, and takes the cores from threads that compute. This one spins for a
// moment, then naps for a twentieth of what it has waited.
class Waiting {
  public:
    void once() const {
        using namespace std::chrono_literals;
        const auto waited = std::chrono::steady_clock::now() - began_;
        if (waited < 50us) return;
        std::this_thread::sleep_for(std::clamp<std::chrono::nanoseconds>(waited / 20, 50us, 1ms));
    }

  private:
    const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

inline void wait_for(const MpiHost& host, std::vector<MPI_Request>& requests) {
    const Waiting waiting;
    for (;;) {
        int done = 0;
        check(host,
              MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE),
              "MPI_Testall");
        if (done) return;
        waiting.once();
    }
}

}  // namespace onecycle::mpi
