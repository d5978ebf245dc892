#include "ops/cuda/plan_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "core/file.h"

namespace onecycle {

namespace {

using nlohmann::json;

constexpr int version = 2;

// The file, with all of its objects; they are empty when there is no such file, or it is damaged or
// of another version.
json read_cache(const std::string& path) {
    json file;
    try {
        file = json::parse(read_file(posix_file_system(), path), nullptr, false);
    } catch (const Error&) {
    }
    if (!file.is_object() || !file.contains("version") || file["version"] != version)
        file = {{"version", version}};
    for (const char* part : {"plans", "searches", "broken"})
        if (!file.contains(part) || !file[part].is_object()) file[part] = json::object();
    return file;
}

// One process at a time changes the file: ranks search at the same time. Where no lock can be had,
// the last writer's additions are kept.
class CacheLock {
  public:
    explicit CacheLock(const std::string& path) {
        try {
            make_directories(posix_file_system(), parent_directory(path));
        } catch (const Error&) {
        }
        file_ = ::open((path + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        while (file_ >= 0 && ::flock(file_, LOCK_EX) != 0 && errno == EINTR) {
        }
    }
    ~CacheLock() {
        if (file_ >= 0) ::close(file_);
    }
    CacheLock(const CacheLock&) = delete;
    CacheLock& operator=(const CacheLock&) = delete;

  private:
    int file_ = -1;
};

void write_cache(const std::string& path, const json& file) {
    try {
        write_file_atomically(posix_file_system(), path, file.dump(1) + "\n");
    } catch (const Error&) {
    }
}

}  // namespace

std::string PlanCache::default_path() {
    const std::string folder = user_cache_folder();
    return folder.empty() ? "" : folder + "/cudnn-plans.json";
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
    const CacheLock lock(path_);
    json file = read_cache(path_), timed = json::array();
    for (const auto& [plan, milliseconds] : search)
        timed.push_back({{"plan", plan}, {"milliseconds", milliseconds}});
    file["plans"][key] = std::ranges::min_element(search, {}, &TimedPlan::milliseconds)->plan;
    file["searches"][key] = timed;
    write_cache(path_, file);
}

std::vector<std::string> PlanCache::broken(const std::string& key) const {
    std::vector<std::string> plans;
    if (path_.empty()) return plans;
    const json file = read_cache(path_);
    const auto found = file["broken"].find(key);
    if (found == file["broken"].end() || !found->is_array()) return plans;
    for (const json& plan : *found)
        if (plan.is_string()) plans.push_back(plan.get<std::string>());
    return plans;
}

void PlanCache::add_broken(const std::string& key, const std::string& plan) const {
    if (path_.empty()) return;
    const CacheLock lock(path_);
    std::vector<std::string> plans = broken(key);
    plans.push_back(plan);
    json file = read_cache(path_);
    file["broken"][key] = plans;
    write_cache(path_, file);
}

}  // namespace onecycle
