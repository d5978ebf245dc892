// Where a run folder may be made: new or as good as empty, writable, with room.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"

namespace onecycle {

// The folders of `path` that are not there yet, innermost first: `path` itself, then those above
// it.
std::vector<std::string> missing_folders(FileSystem& fs, const std::string& path);

// What a run leaves that is killed before its first file is whole: the lock, the probe whether the
// folder can be written, and that file's beginning.
bool is_leftover(std::string_view name);

std::string in_megabytes(std::uint64_t bytes);

}  // namespace onecycle
