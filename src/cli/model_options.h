// The options that eval and predict share.
#pragma once

#include <string>

#include "cli/arguments.h"
#include "onecycle/model.h"

namespace onecycle::cli {

// --model, and what may be said other than the model does.
void declare_model_options(Arguments& arguments, std::string& model, ModelOptions& options);

// --size, --crop-pct, --mean, --std, --classes and --init-ema alone.
void declare_conventions(Arguments& arguments, ModelOptions& options);

// Throws Error(usage) when --model was left out.
void require_model(const std::string& model);

}  // namespace onecycle::cli
