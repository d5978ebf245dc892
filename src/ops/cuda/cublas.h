// cuBLAS, opened at run time.
#pragma once

#include <string>

namespace onecycle {

// "13.1.0". Throws Error(device) when it cannot be opened.
std::string cublas_version();

}  // namespace onecycle
