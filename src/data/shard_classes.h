// The classes of images in shards, from the labels beside them, their folders, and a list of names.
#pragma once

#include <string>
#include <vector>

#include "data/labels.h"

namespace onecycle {

// A name a line, in the order of the classes' numbers. Throws Error(data) for an empty line or a
// name that stands there twice, Error(io) when it cannot be read.
std::vector<std::string> read_shard_classes(const std::string& path);

// Labels every image by what stands beside it; without that, by its folder. A class that is a
// number has the name of that line of `names` (empty: there is no such list, `file`). Where every
// number goes with one folder and every folder with one number, classes have the folders' names.
// Images whose label and folder, or label and list, contradict each other get a fault.
void label_by_shard(FoundImages& images, const std::vector<std::string>& names, const std::string& file);

}  // namespace onecycle
