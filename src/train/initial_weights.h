// The weights that a training begins with, where they come from a file.
#pragma once

#include <string>
#include <vector>

#include "nn/state.h"
#include "onecycle/log.h"
#include "onecycle/network.h"
#include "onecycle/options.h"

namespace onecycle {

// Loads `options.init` into a state of this architecture: everything where the classes are the
// same, in another order perhaps; else, and where the file has no head, all but that. Says to `log`
// what became of it.
void load_initial_weights(State& state, const TrainOptions& options, const Architecture& architecture,
                          const std::vector<std::string>& classes, const LogSink& log);

}  // namespace onecycle
