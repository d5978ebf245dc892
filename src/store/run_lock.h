// The lock of a run folder: one process works in it.
#pragma once

#include <string>

#include "core/file.h"

namespace onecycle {

inline constexpr const char* lock_name = ".lock";

// Whether the file of that name is the one that this process has locked and named itself in.
bool holds(FileSystem& fs, const std::string& path, const std::string& holder);

// Opens and locks it; -EWOULDBLOCK where another process holds it. Throws Error(io).
int try_lock(FileSystem& fs, const std::string& run, int tries = 100);

// The same. Throws Error(io) that names the process which holds it.
int take_lock(FileSystem& fs, const std::string& run);

}  // namespace onecycle
