#include "ops/cuda/plan_cache.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/file.h"

namespace onecycle {

namespace {

using nlohmann::json;

// The file, with both of its objects; they are empty when there is no such file or it is damaged.
json read_cache(const std::string& path) {
    json file;
    try {
        file = json::parse(read_file(posix_file_system(), path), nullptr, false);
    } catch (const Error&) {
    }
    if (!file.is_object()) file = json::object();
    for (const char* part : {"plans", "searches"})
        if (!file.contains(part) || !file[part].is_object()) file[part] = json::object();
    return file;
}

}  // namespace

std::string PlanCache::default_path() {
    const char* cache = std::getenv("XDG_CACHE_HOME");
    if (cache && *cache) return std::string(cache) + "/onecycle/cudnn-plans.json";
    const char* home = std::getenv("HOME");
    return home && *home ? std::string(home) + "/.cache/onecycle/cudnn-plans.json" : "";
}

std::optional<std::string> PlanCache::find(const std::string& key) const {
    if (path_.empty()) return std::nullopt;
    const json plans = read_cache(path_)["plans"];
    const auto found = plans.find(key);
    if (found == plans.end() || !found->is_string()) return std::nullopt;
    return found->get<std::string>();
}

void PlanCache::add(const std::string& key, const std::vector<TimedPlan>& search) const {
    if (path_.empty()) return;
    json file = read_cache(path_), timed = json::array();
    for (const auto& [plan, milliseconds] : search)
        timed.push_back({{"plan", plan}, {"milliseconds", milliseconds}});
    file["plans"][key] = std::ranges::min_element(search, {}, &TimedPlan::milliseconds)->plan;
    file["searches"][key] = timed;
    try {
        make_directories(posix_file_system(), parent_directory(path_));
        write_file_atomically(posix_file_system(), path_, file.dump(1) + "\n");
    } catch (const Error&) {
    }
}

}  // namespace onecycle
