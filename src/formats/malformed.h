// Why a file of tensors is refused.
#pragma once

#include <stdexcept>
#include <string>

#include "onecycle/error.h"

namespace onecycle {

// Thrown where the file's path is not known. The reader that knows it makes an Error of it.
struct Malformed : std::runtime_error {
    using std::runtime_error::runtime_error;
};

[[noreturn]] inline void refuse(const std::string& why) {
    throw Malformed(why);
}

// Throws the Error(model) for a file that is not as it should be.
[[noreturn]] inline void refuse_model(const std::string& path, const std::string& why,
                                      const std::string& fix = "use another copy of the file") {
    throw Error(ErrorKind::model, "cannot read model file", path, why, fix);
}

}  // namespace onecycle
