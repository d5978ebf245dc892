// Opening images on the ranks of a job: rank 0 looks through the folder, and tells the others.
#pragma once

#include <functional>

#include "cli/console.h"
#include "onecycle/dataset.h"

namespace onecycle::cli {

// What `open` returns on rank 0, the only one that calls it; alone: likewise.
Dataset shared_dataset(const Console& console, const std::function<Dataset()>& open);

}  // namespace onecycle::cli
