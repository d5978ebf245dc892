// Questions to the file system that throw only where it cannot answer.
#pragma once

#include <string>
#include <vector>

#include "core/file.h"

namespace onecycle {

// Whether it is there. Throws Error(io) when that cannot be told.
bool is_there(FileSystem& fs, const std::string& path, FileStatus& status);

// The names in a folder; none when it is not there. Throws Error(io).
std::vector<std::string> names_in(FileSystem& fs, const std::string& directory);

}  // namespace onecycle
