// Model files: what a file's tensors make of a network, and the contents of ours.
//
// A file of ours holds, under torchvision's names, the weights that count: what was evaluated and
// what predict uses. That is the moving average where one is kept; the weights that training goes
// on with then stand under "training." + name. Moments stand under "momentum." or "first_moment."
// and "second_moment.".
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nn/state_copy.h"
#include "onecycle/model.h"
#include "onecycle/options.h"
#include "onecycle/safetensors.h"

namespace onecycle {

inline constexpr const char* format_key = "onecycle.format";
inline constexpr const char* format_version = "1";
inline constexpr const char* training_prefix = "training.";

// Whether a tensor of a file of ours is there only for the training to go on.
bool is_training_state(const std::string& name);

// The file of a model, see read_model_info(). Throws likewise.
std::unique_ptr<TensorFile> open_model(const std::string& model, bool init_ema = false);

// Throws Error(model): see read_model_info().
ModelInfo describe_model(const TensorFile& file);

// The same model, or Error(model) where it is a backbone alone.
ModelInfo require_classifier(ModelInfo info);

// "'model' was taken; 'model_ema' fits too, with --init-ema"
std::string taken_text(const ModelInfo& info);

// What is said other than the file does. Throws Error(usage) for what is out of range, and as
// with_class_names().
ModelInfo with_options(ModelInfo info, const ModelOptions& options);

// The network that `info` speaks of, for another size in pixels perhaps.
Network network_of(const ModelInfo& info, int size);

// Parameters and running statistics of `network`, all of them, stored as `prefix` + name. Throws
// Error(model) for one that is missing, of another shape, or not finite, and for a negative
// variance.
std::map<std::string, HostTensor> read_weights(const TensorFile& file, const Network& network,
                                               const std::string& prefix = "");
// All of them straight into a state, without a copy on the host. Throws likewise.
void load_weights(State& state, const TensorFile& file);
// The moments under the names that State::moments() gives; likewise.
std::map<std::string, HostTensor> read_tensors(const TensorFile& file,
                                               const std::map<std::string, HostTensor>& like,
                                               const std::string& prefix = "");

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

// Loads `options.init` into a state: everything where the classes are the same, in another order
// perhaps; else, and where the file has no head, all but that. Says to `log` what became of it.
void load_initial_weights(State& state, const TrainOptions& options, const std::vector<std::string>& classes,
                          const LogSink& log);

// The tensors of a file, in a copy of a state.
class ModelTensors {
  public:
    // `whole`: with everything that training needs to go on. The copy, which has arrived, must
    // outlive this.
    ModelTensors(const State& state, const StateCopy& copy, bool whole);

    // `batches`: what num_batches_tracked says. Each tensor is made plain when its turn comes.
    // Valid while this lives.
    std::vector<TensorSource> sources(std::int64_t batches);

    // The first tensor with a value that is not finite; empty when there is none.
    std::string not_finite() const;

  private:
    const StateCopy* copy_;
    std::vector<StateTensor> tensors_;  // by name
    std::vector<std::string> norms_;
    std::vector<float> plain_;  // the tensor whose turn it is
    std::int64_t batches_ = 0;
};

// Metadata that every file of ours has: format, network, classes, conventions.
std::map<std::string, std::string> model_metadata(const TrainOptions& options,
                                                  const std::vector<std::string>& classes);

// Shortest text that reads back equal.
std::string to_text(double value);
double number_from(const std::map<std::string, std::string>& metadata, const std::string& key,
                   double otherwise);

}  // namespace onecycle
