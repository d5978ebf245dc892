// A table of labels: a CSV file with the columns file, label and perhaps split.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/layout.h"

namespace onecycle {

struct LabelRow {
    std::size_t line = 0;  // in the file, from 1
    std::string file, label;
    SplitKind split = SplitKind::train;
};

struct LabelTable {
    std::string path;
    bool has_splits = false;
    std::vector<LabelRow> rows;
};

// Columns are found by the header row, whose case does not count; others are passed over. Commas,
// or semicolons or tabs where the header has those. Throws Error(data) naming the line; Error(io)
// when the file cannot be read.
LabelTable read_label_table(const std::string& path);
// Of text that was read from there.
LabelTable parse_label_table(std::string_view bytes, const std::string& path);

}  // namespace onecycle
