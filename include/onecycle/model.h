// A trained classifier from a file: a checkpoint of ours, or a safetensors file or state dict of
// torch.save with torchvision's or timm's names.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "onecycle/dataset.h"
#include "onecycle/error.h"
#include "onecycle/evaluation.h"
#include "onecycle/log.h"
#include "onecycle/network.h"
#include "onecycle/ranks.h"
#include "onecycle/tensor_file.h"

namespace onecycle {

// What a model file says, or its tensors' names and shapes imply. Read without loading the weights.
struct ModelInfo {
    std::string path{};  // of the file
    std::string arch{};  // the name of `architecture`
    Architecture architecture{};
    Stem stem = Stem::imagenet;
    Head head = Head::linear;
    int class_count = 0;                 // 0: a backbone, without a classifier
    std::vector<std::string> classes{};  // names; the indices as text where the file has none
    // The names are the file's, or given with ModelOptions::classes.
    bool named = false;
    WeightsPlace weights{};  // which of the file's tensors these are
    // Conventions: the file's own, else 224, 0.875, ImageNet's.
    int size = 224;
    double crop_pct = 0.875;
    std::array<double, 3> mean{0.485, 0.456, 0.406}, stddev{0.229, 0.224, 0.225};
    std::map<std::string, std::string> metadata{};  // all of it; empty for a foreign file

    // Serves a training as a start, and nothing else.
    bool backbone() const { return class_count == 0; }
    bool trained_here() const { return metadata.count("onecycle.format") != 0; }
};

// `model`: a run folder (its best checkpoint), a checkpoint, or another file of weights
// (.safetensors, .pth). Throws Error(model) when it is not there, damaged, or of no network that is
// built in: names the first tensors that are missing, extra or of a wrong shape. `init_ema`: as in
// ModelOptions.
ModelInfo read_model_info(const std::string& model, bool init_ema = false);

// Reads all weights of a model, a tensor at a time. Throws Error(model) for a file that is damaged,
// does not fit any network or holds values that none can have.
void check_model(const std::string& model, bool init_ema = false);

// Whether `dataset` is, file for file, what this model was trained from.
bool trained_on(const ModelInfo& info, const Dataset& dataset);

// How the training's data was split, so that eval can take the same side: seed and fraction of an
// automatic split; empty for a foreign file and for a folder with its own evaluation side.
struct RecordedSplit {
    std::uint64_t seed = 0;
    double valid_fraction = 0;
    std::string dataset_digest{};
};
std::optional<RecordedSplit> recorded_split(const ModelInfo& info);

struct ModelOptions {
    // Empty: the file's own, else 224, 0.875, ImageNet's.
    std::optional<int> size{};
    std::optional<double> crop_pct{};
    std::optional<std::array<double, 3>> mean{}, stddev{};
    // A file with the names of a model's classes, one a line; empty: the model's own.
    std::string classes{};
    // Take a moving average where a file from elsewhere holds one beside the weights.
    bool init_ema = false;
    int batch_size = 64;
    int threads = 0;  // 0: all cores
    std::string device = "auto", precision = "auto";
    bool deterministic = false, no_graph = false;  // as in TrainOptions
    // Of evaluate(): images that can no longer be read.
    BadImages bad_images = BadImages::skip;
    double max_bad = DatasetOptions{}.max_bad;
    // Of predict(): an image of more gets no answer.
    std::int64_t max_pixels = DatasetOptions{}.max_pixels;
    // Bytes that decoding images may take, over all threads; 0: a quarter of what is free.
    std::uint64_t decode_memory = 0;
    LogSink log{};
    std::function<int()> stop{};  // asked between batches; not 0 ends the work, see Interrupted
    // Of evaluate(): the job whose ranks share the images; null: this process does it alone. All
    // ranks then return the same, which is what one would.
    std::shared_ptr<Communicator> ranks{};
};

struct Prediction {
    struct Entry {
        int index = 0;      // 0-based
        std::string label;  // the class's name
        double probability = 0;
    };
    std::string file{};
    std::vector<Entry> top{};  // highest probability first
    std::string error{};       // why there is no answer; else empty
    bool damaged = false;      // the image is damaged: the answer is of what could be decoded
};

class Model {
  public:
    // Loads and checks the weights. Throws as read_model_info(), and Error(model) for a value that
    // is not finite and for a backbone, Error(usage) for options out of range, Error(device).
    explicit Model(const std::string& model, const ModelOptions& options = {});
    // A model of an architecture that is not built in. Throws Error(model) for one of another.
    Model(const std::string& model, const ModelOptions& options, const Architecture& architecture);
    ~Model();
    Model(Model&&) noexcept;

    const ModelInfo& info() const;

    // Labels index `classes`, the folder's. They must be among the model's, in any order: matched
    // by name (a file without names: as many classes, taken in order, which is said). Throws
    // Error(model) that lists the difference when they are not. The result is of all of the model's
    // classes; those without images count in no figure.
    Evaluation evaluate(const std::vector<Sample>& samples, const std::vector<std::string>& classes,
                        const EvaluateOptions& options = {});

    // One entry a file, in order; a file that cannot be read has `error`, the others are answered.
    std::vector<Prediction> predict(const std::vector<std::string>& files, int top = 5);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace onecycle
