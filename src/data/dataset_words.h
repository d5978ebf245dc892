// What all messages about a data set share.
#pragma once

#include <cstddef>
#include <string>

#include "onecycle/error.h"

namespace onecycle {

[[noreturn]] inline void refuse(const std::string& where, const std::string& why, const std::string& fix) {
    throw Error(ErrorKind::data, "cannot use dataset", where, why, fix);
}

// "1 image", "2 images"
inline std::string count_of(std::size_t n, const std::string& noun) {
    return std::to_string(n) + " " + noun + (n == 1 ? "" : "s");
}

}  // namespace onecycle
