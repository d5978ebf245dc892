#include "rules/rng.h"

#include <cmath>
#include <numbers>

namespace onecycle {

double normal(RandomStream& stream) {
    // 1 - u is in (0, 1]: the logarithm is finite.
    const double radius = std::sqrt(-2.0 * std::log(1.0 - stream.uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * stream.uniform());
}

}  // namespace onecycle
