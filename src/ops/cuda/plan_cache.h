// Which cuDNN engine was fastest for a convolution on a GPU, kept on disk: a search takes seconds,
// once.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace onecycle {

struct TimedPlan {
    std::string plan;
    double milliseconds;
};

// A JSON file: {"version": 2, "plans": {key: the fastest plan}, "searches": {key: [{"plan",
// "milliseconds"}, …]}, "broken": {key: [plan]}}; the searches are for people who want to know what
// a choice was worth. What another version wrote is not read: searches of the first one saw engines
// without their knobs. A cache: a file that is missing, damaged or cannot be written costs a
// search, never an error. Several processes may use one: a lock file beside it keeps their additions
// apart.
class PlanCache {
  public:
    explicit PlanCache(std::string path) : path_(std::move(path)) {}

    // $XDG_CACHE_HOME/onecycle/cudnn-plans.json, else ~/.cache/onecycle/cudnn-plans.json; empty (no cache) when
    // neither variable is set.
    static std::string default_path();

    std::optional<std::string> find(const std::string& key) const;
    // Keeps the fastest of `search`, which holds one at least, in the order in which cuDNN
    // suggested them.
    void add(const std::string& key, const std::vector<TimedPlan>& search) const;

    // Plans that broke the device and are not to be tried again.
    std::vector<std::string> broken(const std::string& key) const;
    void add_broken(const std::string& key, const std::string& plan) const;

  private:
    std::string path_;
};

}  // namespace onecycle
