// A whole data set as bytes, for the other ranks of a job: the folder is looked through once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "onecycle/dataset.h"

namespace onecycle {

// With where each image lies, as all ranks see it under the same paths.
std::vector<std::uint8_t> to_bytes(const Dataset& dataset);

// Throws std::runtime_error for bytes that to_bytes() did not make.
Dataset dataset_from_bytes(std::span<const std::uint8_t> bytes);

}  // namespace onecycle
