#include "ops/cuda/plan_cache.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/file.h"

namespace onecycle {

namespace {

using nlohmann::json;

// The plans in the file: an object of strings; empty when there is no such file or it is damaged.
json read_plans(const std::string& path) {
    try {
        const json file = json::parse(read_file(posix_file_system(), path), nullptr, false);
        if (file.is_object() && file.contains("plans") && file["plans"].is_object()) return file["plans"];
    } catch (const Error&) {
    }
    return json::object();
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
    const json plans = read_plans(path_);
    const auto found = plans.find(key);
    if (found == plans.end() || !found->is_string()) return std::nullopt;
    return found->get<std::string>();
}

void PlanCache::add(const std::string& key, const std::string& value) const {
    if (path_.empty()) return;
    json plans = read_plans(path_);
    plans[key] = value;
    try {
        make_directories(posix_file_system(), parent_directory(path_));
        write_file_atomically(posix_file_system(), path_, json{{"plans", plans}}.dump(1) + "\n");
    } catch (const Error&) {
    }
}

}  // namespace onecycle
