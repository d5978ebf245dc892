// The names of a model's classes: from a file, and what is assumed where a model has none.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "onecycle/log.h"
#include "onecycle/model.h"

namespace onecycle {

// A name a line, in the model's order; blanks around it, a byte order mark and empty lines at the
// end do not count. Throws Error(io) for a file that cannot be read, Error(data) for an empty line
// between names, a name twice and what is no UTF-8 text, each with its line.
std::vector<std::string> read_class_names(const std::string& path);
// Of text that was read from there.
std::vector<std::string> parse_class_names(std::string_view text, const std::string& path);

// `info` with the names in the file `path`, which must be as many as its classes and its own where
// it has some. Throws Error(model), and as read_class_names().
ModelInfo with_class_names(ModelInfo info, const std::string& path);

// Says that a model without names is taken to know `classes`, those of a folder, in their order,
// and warns where who numbered them by hand may have used another: class2 before class10, or
// capitals not before small letters.
void say_assumed_order(const ModelInfo& info, const std::vector<std::string>& classes, const LogSink& log);

// Numbers in names by their value, letters without regard to their case.
bool natural_less(const std::string& a, const std::string& b);

// "a, b, c and 7 more"
std::string first_names(const std::vector<std::string>& names);

}  // namespace onecycle
