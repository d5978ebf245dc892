// fastai 2's create_head(), behind any body.
#pragma once

#include "onecycle/network.h"

namespace onecycle {

// Adds it with its defaults; `x` is the body's last activation, `dropout` create_head()'s `ps`.
void fastai_head(Network& net, int x, int classes, double dropout);

}  // namespace onecycle
