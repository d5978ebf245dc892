#include <sstream>

#include "device/cuda/machine.h"

namespace onecycle {

bool runs_on(const std::string& architectures, int major, int minor) {
    std::istringstream list(architectures);
    for (std::string entry; list >> entry;) {
        std::size_t digits = 0;
        while (digits < entry.size() && entry[digits] >= '0' && entry[digits] <= '9') ++digits;
        if (digits == 0) return true;  // "all" and the like
        const int built = std::stoi(entry.substr(0, digits)), here = 10 * major + minor;
        const std::string rest = entry.substr(digits);
        const bool code = rest.find("virtual") == std::string::npos,
                   ptx = rest.find("real") == std::string::npos;
        if (!rest.empty() && rest[0] != '-') {  // 90a: that one alone
            if (built == here) return true;
            continue;
        }
        if (code && built / 10 == major && built <= here) return true;
        if (ptx && built <= here) return true;
    }
    return false;
}

std::string CudaMachine::why_not(int index) const {
    if (!missing.empty()) return missing;
    if (index < 0 || index >= static_cast<int>(gpus.size()))
        return "there are " + std::to_string(gpus.size()) + " GPUs, counted from 0";
    return gpus[static_cast<std::size_t>(index)].missing;
}

}  // namespace onecycle
