// The images that failed in mid-training, as a checkpoint keeps them.
#pragma once

#include <string>
#include <vector>

#include "data/image_faults.h"

namespace onecycle {

// JSON, a line. Paths are left out: they follow from the list of images.
std::string fault_record(const std::vector<ImageFault>& faults);

// Throws Error(model) that names `where` for a record that was not made for these lists.
std::vector<ImageFault> faults_from_record(const std::string& record, const Dataset& dataset,
                                           const std::string& where);

}  // namespace onecycle
