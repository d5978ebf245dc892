// What each launch of a kernel asks of memory, as the emulated device sees it in a build that looks
// at every access (ONECYCLE_SHADOW_MEMORY). docs/emulated.md says how a request is put together and
// where that may err.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace onecycle {

// A request is what one instruction of a warp asks for: of each lane that takes part, one access.
struct LaunchCounts {
    std::string kernel;
    std::int64_t blocks = 0;
    int threads = 0;  // of a block

    // Of global memory, loads, stores and atomics.
    std::uint64_t requests = 0;
    std::uint64_t sectors = 0;         // pieces of 32 bytes that the requests touch
    std::uint64_t fewest_sectors = 0;  // that the bytes of each request would fill, side by side
    std::uint64_t bytes = 0;           // of each request; bytes that several lanes ask for, once

    // Of shared memory: 32 banks, each of which gives one word of 4 bytes a pass. Lanes that ask
    // for the same word share it.
    std::uint64_t shared_requests = 0;
    std::uint64_t bank_conflicts = 0;  // passes beyond those that no placement could save

    // Adds the figures of another launch.
    void add(const LaunchCounts& other);
};

// Counts while it lives; one at a time.
class LaunchCounter {
  public:
    // Whether this build sees the accesses of kernels. Without it nothing is ever counted.
    static bool possible();

    LaunchCounter();
    ~LaunchCounter();
    LaunchCounter(const LaunchCounter&) = delete;
    LaunchCounter& operator=(const LaunchCounter&) = delete;

    // The launches since the last call, in the order in which they ran. The caller has waited for
    // the device.
    std::vector<LaunchCounts> take();
};

}  // namespace onecycle
