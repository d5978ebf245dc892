// The options that eval and predict share.
#pragma once

#include <string>

#include "cli/arguments.h"
#include "cli/console.h"
#include "onecycle/model.h"

namespace onecycle::cli {

// --model, and what may be said other than the model does.
void declare_model_options(Arguments& arguments, std::string& model, ModelOptions& options);

// --size, --crop-pct, --mean, --std, --classes and --init-ema alone.
void declare_conventions(Arguments& arguments, ModelOptions& options);

// What `model` names: runs/NAME, as it stands there or with -2, -3, … behind it, is the one of
// these runs that was trained last, said on the console where there are several. With a slash
// behind it, and whatever else it is: itself.
std::string newest_run(const std::string& model, Console& console);

// Throws Error(usage) when --model was left out.
void require_model(const std::string& model);

}  // namespace onecycle::cli
