#pragma once

#include <string>

#include "onecycle/error.h"

namespace onecycle {

// Throws the Error for a model file that is not as it should be.
[[noreturn]] inline void refuse_model(const std::string& path, const std::string& why,
                                      const std::string& fix = "use another copy of the file") {
    throw Error(ErrorKind::model, "cannot read model file", path, why, fix);
}

}  // namespace onecycle
