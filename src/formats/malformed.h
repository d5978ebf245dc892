// Why a file is refused, from where the file's path is not known. The reader that knows it makes an Error of it.
#pragma once

#include <stdexcept>

namespace onecycle {

struct Malformed : std::runtime_error {
    using std::runtime_error::runtime_error;
};

}  // namespace onecycle
