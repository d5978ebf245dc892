// What a model file says of itself, or what its tensors make of a network.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "onecycle/model.h"
#include "onecycle/network.h"
#include "onecycle/options.h"
#include "onecycle/tensor_file.h"
#include "train/model_tensors.h"

namespace onecycle {

inline constexpr const char* format_key = "onecycle.format";
inline constexpr const char* format_version = "1";

// In what follows `own` is an architecture that is not built in, or null.

// How the weights of the built-in architectures, and of `own`, are found in files from elsewhere.
KnownNetworks known_networks(const Architecture* own = nullptr);

// The file of a model, see read_model_info(). Throws likewise.
std::unique_ptr<TensorFile> open_model(const std::string& model, bool init_ema = false,
                                       const Architecture* own = nullptr);

// A file of ours names its architecture; one from elsewhere is of the architecture whose tensors it
// has. Throws Error(model): see read_model_info().
ModelInfo describe_model(const TensorFile& file, const Architecture* own = nullptr);

// The same model, or Error(model) where it is not of `own`, if there is one.
ModelInfo require_architecture(ModelInfo info, const Architecture* own);

// The same model, or Error(model) where it is a backbone alone.
ModelInfo require_classifier(ModelInfo info);

// "'model' was taken; 'model_ema' fits too, with --init-ema"
std::string taken_text(const ModelInfo& info);

// What is said other than the file does. Throws Error(usage) for what is out of range, and as
// with_class_names().
ModelInfo with_options(ModelInfo info, const ModelOptions& options);

// The network that `info` speaks of, for a size in pixels; without one for any.
Network network_of(const ModelInfo& info, int size);
Network network_of(const ModelInfo& info);
// What its file must have: of a backbone all but the head.
NamedShapes shapes_of(const ModelInfo& info);

// A model's list of class names beside that of a folder.
struct ClassDifference {
    std::vector<int> matched{};  // which of the model's each of the folder's is; -1: none
    std::vector<std::string> missing{},
        extra{};  // the model's that the folder lacks, the folder's that the model lacks
    bool same() const { return missing.empty() && extra.empty(); }
    // "the folder lacks 1 of its classes (daisy) and has 5 others (rose, tulip, violet and 2 more)"
    std::string text(const std::string& folder) const;
};
ClassDifference compare_classes(const std::vector<std::string>& model,
                                const std::vector<std::string>& folder);

// Metadata that every file of ours has: format, network, classes, conventions.
std::map<std::string, std::string> model_metadata(const TrainOptions& options,
                                                  const std::vector<std::string>& classes);

// Shortest text that reads back equal.
std::string to_text(double value);
// What the metadata say; `otherwise` where that is no number, or no whole one from 0 on.
double number_from(const std::map<std::string, std::string>& metadata, const std::string& key,
                   double otherwise);
std::int64_t count_from(const std::map<std::string, std::string>& metadata, const std::string& key,
                        std::int64_t otherwise);

}  // namespace onecycle
