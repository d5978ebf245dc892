#include "train/access_counts.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace onecycle {

std::vector<CountedKernel> AccessCounts::kernels() const {
    std::map<std::string, CountedKernel> by_name;
    std::map<std::string, std::set<int>> steps;
    for (const CountedLaunch& launch : launches) {
        CountedKernel& kernel = by_name[launch.kernel];
        kernel.kernel = launch.kernel;
        kernel.add(launch);
        ++kernel.launches;
        kernel.operations.insert(launch.operation);
        if (steps[launch.kernel].insert(launch.step).second) kernel.declared += launch.declared;
    }
    std::vector<CountedKernel> rows;
    for (auto& [name, kernel] : by_name) rows.push_back(std::move(kernel));
    std::ranges::stable_sort(rows, [](const CountedKernel& a, const CountedKernel& b) {
        return std::tuple(a.wasted_bytes(), a.bank_conflicts) >
               std::tuple(b.wasted_bytes(), b.bank_conflicts);
    });
    return rows;
}

}  // namespace onecycle
