// Nothing is counted: accesses are not seen, or there is no emulated device.
#include "device/kernel_counts.h"

namespace onecycle {

bool LaunchCounter::possible() {
    return false;
}
LaunchCounter::LaunchCounter() = default;
LaunchCounter::~LaunchCounter() = default;
std::vector<LaunchCounts> LaunchCounter::take() {
    return {};
}

}  // namespace onecycle
