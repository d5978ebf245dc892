// The lock of a run folder: one process works in it.
#pragma once

#include <string>

#include "core/file.h"

namespace onecycle {

inline constexpr const char* lock_name = ".lock";

// What a name leads to, beside a file that is open.
enum class Named { that_file, another_file, nothing, unknown };
Named named(FileSystem& fs, const std::string& path, int file);

// Whether the file of that name holds what a lock does: a process's number, or nothing yet.
bool is_lock(FileSystem& fs, const std::string& path);

// Opens and locks it; -EWOULDBLOCK where another process holds it. Throws Error(io).
int try_lock(FileSystem& fs, const std::string& run, int tries = 100);

// The same. Throws Error(io) that names the process which holds it.
int take_lock(FileSystem& fs, const std::string& run);

}  // namespace onecycle
