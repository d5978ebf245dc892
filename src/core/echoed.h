// What lines for people show of values from outside.
#pragma once

#include <string>

namespace onecycle {

// A path, a name or a cell as a line shows it: printable(), and cut where it has more than 200
// characters, with their number behind it. Errors treat what they echo so by themselves.
std::string echoed(const std::string& value);

// JSON that reads back equal, in which what printable() escapes stands as \uXXXX: a terminal may
// show it.
std::string printable_json(const std::string& json);

}  // namespace onecycle
