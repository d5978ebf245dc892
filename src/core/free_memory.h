// How much memory a process may still take.
#pragma once

#include <cstdint>
#include <string>

namespace onecycle {

// Bytes that the kernel could give without swapping (MemAvailable), or less where a control group
// (version 1 or 2; a container's, for instance) or `ulimit -v` or `-d` allows less; what a group's files
// take in the page cache counts as free. The largest number where the system does not say. `root` stands before
// every path that is read: for tests.
std::uint64_t free_memory(const std::string& root = "");

}  // namespace onecycle
