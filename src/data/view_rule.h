// A policy as plain data, as draw_view() and a device take it.
#pragma once

#include "core/view.h"
#include "onecycle/augment.h"

namespace onecycle {

ViewRule view_rule(AugmentPolicy policy);

}  // namespace onecycle
