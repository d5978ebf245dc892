// What a checkpoint's metadata keeps of the options: those that decide the result, without any
// path.
#pragma once

#include <string>
#include <vector>

#include "onecycle/options.h"

namespace onecycle {

// Compact JSON. `options` are resolved, with a number for max_lr.
std::string options_record(const TrainOptions& options);

// The options, as "--epochs", that differ from a record; "all options", where it is no record at all.
std::vector<std::string> differences_from_record(const std::string& record, const TrainOptions& options);

// 0 when the record has none.
double max_lr_of_record(const std::string& record);

// The member of a run's config.json that is no option: see run_config().
inline constexpr const char* dataset_member = "dataset";

// A list of texts as a JSON array, and back (what is no text is left out).
std::string to_json_list(const std::vector<std::string>& texts);
std::vector<std::string> from_json_list(const std::string& text);

}  // namespace onecycle
