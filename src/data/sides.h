// The labelled images of both sides of a folder, before any of them is opened.
#pragma once

#include <string>
#include <vector>

#include "data/folder.h"
#include "data/labels.h"
#include "data/layout.h"
#include "onecycle/dataset.h"

namespace onecycle {

struct SideImages {
    std::vector<std::string> classes;
    std::vector<Sample> train, valid;  // by label, then name
    std::vector<BadImage> missing;     // that a table names
};

// Finds and labels them, and says what was passed over. `layout` loses an evaluation side that has
// no labels. Throws Error(data) as open_dataset().
SideImages read_sides(const Folder& data, Layout& layout, const Labels& labels,
                      const DatasetOptions& options);

}  // namespace onecycle
