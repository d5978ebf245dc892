// Numbers with the digits that matter.
#pragma once

#include <fmt/format.h>

#include <string>

namespace onecycle {

// To two significant digits: what is printed short is then what is used. `value` above 0.
inline double two_digits(double value) {
    return std::stod(fmt::format("{:.1e}", value));
}

}  // namespace onecycle
