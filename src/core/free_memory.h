// How much memory a process may still take.
#pragma once

#include <cstdint>
#include <string>

namespace onecycle {

// Bytes that the kernel could give without swapping (MemAvailable), or less where a control group
// (version 1 or 2; a container's, for instance) allows less; what a group's files take in the page
// cache counts as free. Of `processes` that share this, each gets its part; what `ulimit -v` or `-d`
// leaves is each one's own. The largest number where the system does not say. `root` stands before
// every path that is read: for tests.
std::uint64_t free_memory(int processes = 1, const std::string& root = "");

}  // namespace onecycle
