// Where messages go. The library never writes to stdout or stderr by itself: it hands each line to
// a sink. The command line program installs one that writes to stderr; the default drops
// everything.
#pragma once

#include <functional>
#include <string>

namespace onecycle {

enum class LogLevel { info, warning };

using LogSink = std::function<void(LogLevel, const std::string& line)>;

}  // namespace onecycle
