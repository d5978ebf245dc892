// The options that find, train and finetune share, declared once. Ranges are the library's to check
// (check()).
#pragma once

#include <array>
#include <string>
#include <vector>

#include "cli/arguments.h"
#include "onecycle/dataset.h"
#include "onecycle/options.h"

namespace onecycle::cli {

// How a folder is read: what is left out, and where its labels come from.
void declare_reading(Arguments& arguments, std::vector<std::string>& exclude, std::string& labels,
                     std::string& label_from);

// The value that the last `--name VALUE` or `--name=VALUE` among `words` gives; empty: none. For
// options that change the defaults of others.
std::string value_before_parsing(const std::vector<std::string>& words, const std::string& name);

// Whether the last `--name`, `--name=true` or `--name=false` among `words` says yes; no where there
// is none.
bool early_flag(const std::vector<std::string>& words, const std::string& name);

// Another policy; the numbers of the one before do not stay.
void choose_policy(TrainOptions& options, const std::string& policy);

// The defaults: the library's, or those of --config FILE (a run's config.json) among `words`.
TrainOptions default_training_options(const std::vector<std::string>& words);

// A run folder's config.json. Throws Error(model) when the folder is no run.
TrainOptions options_of_run(const std::string& run);

// Everything but DATA. `options` holds the defaults.
void declare_training_options(Arguments& arguments, TrainOptions& options);

// What --size, --sizes and --epochs say together. Call it before the options are used.
void merge_sizes(const Arguments& arguments, TrainOptions& options);

// --epochs, --policy and what belongs to policies, --momentum: for `plan`.
void declare_schedule_options(Arguments& arguments, PolicyOptions& options, std::int64_t& epochs);

// --bad-images and --max-bad.
void declare_weights(Arguments& arguments, std::string& classes, bool& init_ema);
void declare_bad_images(Arguments& arguments, BadImages& what, double& most);

// --max-pixels and --decode-memory.
void declare_image_limits(Arguments& arguments, std::int64_t& most, std::uint64_t& decode_memory);

// --deterministic and --no-graph.
void declare_steps(Arguments& arguments, bool& deterministic, bool& no_graph);

// "a,b,c". Throws Error(usage).
std::array<double, 3> parse_triple(const std::string& option, const std::string& text);

// Throws Error(usage) when DATA was left out.
void require_data(const std::string& data, const std::string& verb);

}  // namespace onecycle::cli
