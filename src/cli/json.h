// What the verbs print under --json, one object (or list) a verb, ending in a newline. NaN and
// infinities are null; bytes that are not UTF-8 are replaced. Console::result() escapes in it what a
// terminal must not get.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/image_list.h"
#include "data/pack.h"
#include "device/cuda/machine.h"
#include "onecycle/evaluation.h"
#include "onecycle/export.h"
#include "onecycle/learner.h"
#include "onecycle/model.h"
#include "onecycle/network.h"
#include "onecycle/tensor_file.h"
#include "train/access_counts.h"
#include "train/profile.h"
#include "train/ranks_forecast.h"

namespace onecycle::cli {

// `split`: where a list of the training's images told which to evaluate on.
std::string to_json(const Evaluation& evaluation, const std::optional<UnseenImages>& split = {});
std::string to_json(const std::vector<Prediction>& predictions);
std::string to_json(const ExportResult& result);
// `bad`: what the check of the images has left out.
std::string to_json(const PackResult& result, const std::string& folder, std::size_t classes,
                    const std::vector<BadImage>& bad);
std::string to_json(const FitResult& result, const std::string& run, int shares);

std::string to_json(const Profile& profile, const ScaleForecast* forecast = nullptr);
std::string to_json(const AccessCounts& counts);

struct FileInfo {
    std::string kind;                 // "run folder", "checkpoint" or "model"
    std::string path;                 // as given
    std::string file;                 // the tensors' file; empty for a run without a checkpoint
    std::optional<ModelInfo> model;   // when the tensors are a network that we know
    std::string not_a_model;          // else why not
    std::vector<TensorInfo> tensors;  // in the order of the file
    std::string digest;               // of the file; empty when it carries none
    std::string config;               // config.json of a run folder
    std::int64_t parameters() const;  // numbers that training changes by gradient
    std::uint64_t bytes() const;      // of all tensors
};
std::string to_json(const FileInfo& info);

// Weights and biases of `architecture` with a head of so many classes.
std::int64_t parameters_of(const Architecture& architecture, int classes);
// {"archs": [...]}: what `--arch` takes.
std::string to_json(const std::vector<Architecture>& architectures);

struct MachineInfo {
    std::string version;
    struct Backend {
        std::string name;
        bool built, ready;
        std::string note;   // instruction set, or why it is not ready
        std::string fix{};  // how to have it, where it is not built
    };
    std::vector<Backend> backends;
    std::vector<std::string> devices;
    CudaMachine cuda;
    std::vector<std::pair<std::string, std::string>> libraries;  // name, version; empty: not found
    std::string instruction_set;
    int cores = 0;
    std::vector<std::string> advice;  // what to install or to know
};
std::string to_json(const MachineInfo& machine);

}  // namespace onecycle::cli
