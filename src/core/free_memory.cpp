#include "core/free_memory.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>

namespace onecycle {

namespace {

constexpr std::uint64_t unlimited = UINT64_MAX;

// The number behind `name` at the start of a line: "MemAvailable:  123 kB", "inactive_file 123".
std::optional<std::uint64_t> number_after(const std::string& path, const std::string& name) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string word;
        std::uint64_t number = 0;
        if (words >> word && word == name && words >> number) return number;
    }
    return {};
}

// The only number in a file; nothing where it holds a word ("max").
std::optional<std::uint64_t> number_in(const std::string& path) {
    std::ifstream file(path);
    std::uint64_t number = 0;
    if (file >> number) return number;
    return {};
}

std::uint64_t left_in_group(const std::string& group, const char* limit_name, const char* usage_name,
                            const char* cache_name) {
    const auto limit = number_in(group + limit_name), usage = number_in(group + usage_name);
    if (!limit || !usage) return unlimited;
    const std::uint64_t cache = number_after(group + "/memory.stat", cache_name).value_or(0);
    const std::uint64_t taken = *usage - std::min(*usage, cache);
    return *limit - std::min(*limit, taken);
}

// The least that the group and the groups above it leave.
std::uint64_t left_up_from(const std::string& mount, std::string group, const char* limit_name,
                           const char* usage_name, const char* cache_name) {
    std::uint64_t left = unlimited;
    for (;;) {
        left = std::min(left, left_in_group(mount + group, limit_name, usage_name, cache_name));
        if (group.empty() || group == "/") return left;
        group.erase(std::min(group.rfind('/'), group.size()));
    }
}

std::uint64_t left_in_groups(const std::string& root) {
    std::uint64_t left = unlimited;
    std::ifstream file(root + "/proc/self/cgroup");
    // Lines of "0::/group" (version 2), or "7:cpu,memory:/group".
    for (std::string line; std::getline(file, line);) {
        const std::size_t first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
        const std::string group = line.substr(second + 1);
        if (controllers == ",,")
            left = std::min(left, left_up_from(root + "/sys/fs/cgroup", group, "/memory.max",
                                               "/memory.current", "inactive_file"));
        else if (controllers.find(",memory,") != std::string::npos)
            left =
                std::min(left, left_up_from(root + "/sys/fs/cgroup/memory", group, "/memory.limit_in_bytes",
                                            "/memory.usage_in_bytes", "total_inactive_file"));
    }
    return left;
}

// Of what `ulimit` allows this process: `limit_name` is a line of /proc/self/limits, such as "Max data size
// 1000 unlimited bytes", and `usage_name` one of /proc/self/status, in KiB.
std::uint64_t left_under(const std::string& root, const std::string& limit_name,
                         const std::string& usage_name) {
    std::ifstream file(root + "/proc/self/limits");
    for (std::string line; std::getline(file, line);) {
        if (!line.starts_with(limit_name)) continue;
        std::istringstream words(line.substr(limit_name.size()));
        std::uint64_t limit = 0;
        if (!(words >> limit)) return unlimited;
        const auto usage = number_after(root + "/proc/self/status", usage_name);
        return usage ? limit - std::min(limit, *usage << 10) : unlimited;
    }
    return unlimited;
}

}  // namespace

std::uint64_t free_memory(int processes, const std::string& root) {
    std::uint64_t available = unlimited;
    if (const auto kib = number_after(root + "/proc/meminfo", "MemAvailable:")) available = *kib << 10;
    const std::uint64_t shared = std::min(available, left_in_groups(root));
    return std::min({shared == unlimited ? unlimited : shared / static_cast<std::uint64_t>(processes),
                     left_under(root, "Max address space", "VmSize:"),
                     left_under(root, "Max data size", "VmData:")});
}

}  // namespace onecycle
