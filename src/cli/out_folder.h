// --out: where find and train write.
#pragma once

#include <string>
#include <vector>

#include "cli/arguments.h"
#include "cli/console.h"
#include "onecycle/dataset.h"
#include "onecycle/log.h"
#include "onecycle/run_folder.h"

namespace onecycle::cli {

// --out and --config.
void declare_out_options(Arguments& arguments, std::string& out);

// Refuses a folder that is not empty or cannot be made, before any work. Makes nothing.
void check_out(const std::string& out);

// Refuses a disk that cannot take the `bytes` of the run's checkpoints.
void check_out_space(const std::string& out, std::uint64_t bytes);

// The name of DATA's folder.
std::string data_name(const std::string& data);

// Makes --out, or, when it was left out, runs/NAME + `ending` with NAME after DATA's folder.
RunFolder make_out(const std::string& out, const std::string& data, const std::string& ending, LogSink log);

// Lists the files that were left out, if any, in bad-images.txt: a line each, path and reason.
void write_bad_images(RunFolder& run, const std::vector<BadImage>& bad, Console& console);

}  // namespace onecycle::cli
