#include "ops/cuda/switches.h"

#include <cstdlib>
#include <string>

#include "onecycle/error.h"

namespace onecycle {

namespace {

bool read_switch(const char* name, bool otherwise) {
    const char* const set = std::getenv(name);
    const std::string value = set ? set : "";
    if (value.empty()) return otherwise;
    if (value != "0" && value != "1")
        throw Error(ErrorKind::usage, "bad environment variable", name,
                    "\"" + printable(value) + "\" is neither 0 nor 1", "set it to 0 or 1, or unset it");
    return value == "1";
}

}  // namespace

Switches read_switches() {
    const Switches usual;
    return {.branch = read_switch("ONECYCLE_BRANCH", usual.branch),
            .one_grid = read_switch("ONECYCLE_ONE_GRID", usual.one_grid)};
}

}  // namespace onecycle
