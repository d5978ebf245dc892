// A policy as plain data, as draw_view() and a device take it.
#pragma once

#include "onecycle/image.h"
#include "rules/view.h"

namespace onecycle {

ViewRule view_rule(AugmentPolicy policy);

}  // namespace onecycle
