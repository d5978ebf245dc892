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

// The probe whether a folder can be written.
bool is_probe(std::string_view name);

// The beginning of a file that a run writes.
bool is_beginning(std::string_view name);

// Whether a folder with these names in it holds nothing but what a start leaves that was killed: the
// probe, the beginning of config.json, and, beside the lock of its process, other beginnings and the
// files of a range test whose last one is missing. False also where that cannot be told.
bool holds_only_a_start(FileSystem& fs, const std::string& path, const std::vector<std::string>& names);

std::string in_megabytes(std::uint64_t bytes);

}  // namespace onecycle
