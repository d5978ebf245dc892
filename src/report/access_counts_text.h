// What kernels ask of memory as a table for people.
#pragma once

#include <string>

#include "train/access_counts.h"

namespace onecycle {

std::string access_counts_text(const AccessCounts& counts);

}  // namespace onecycle
