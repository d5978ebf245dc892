// Numbers with the digits that matter.
#pragma once

#include <fmt/format.h>

#include <string>

namespace onecycle {

// To two significant digits: what is printed short is then what is used. `value` above 0.
inline double two_digits(double value) {
    return std::stod(fmt::format("{:.1e}", value));
}

// To twelve: what follows is rounding, which makes 0.0009999999999999994 of 0.001.
inline double twelve_digits(double value) {
    return std::stod(fmt::format("{:.12g}", value));
}

}  // namespace onecycle
