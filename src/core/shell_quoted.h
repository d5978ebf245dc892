// Paths in commands that a user may paste.
#pragma once

#include <string>

namespace onecycle {

// The path as a shell takes it: in quotes where it must be.
std::string shell_quoted(const std::string& path);

}  // namespace onecycle
