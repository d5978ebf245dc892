// Where a training stands, beside the state on the device: what a checkpoint's metadata holds, and
// what a resume needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "formats/readers.h"
#include "onecycle/learner.h"
#include "onecycle/tensor_file.h"
#include "train/learner_core.h"

namespace onecycle {

struct TrainingProgress {
    std::int64_t step = 0;           // updates done
    std::int64_t epoch = 0;          // epochs done and evaluated
    double loss_sum = 0;             // of the losses of this epoch's batches
    std::optional<double> max_lr{};  // the run's highest rate; empty: not found yet
    std::size_t stage = 0;           // index in stages_of()
    double stage_lr = 0;             // the stage's highest rate
    // Of the epochs done. A checkpoint holds it, so that no resume depends on metrics.csv.
    std::optional<EpochReport> best{};

    // Says in the row whether it is the best so far, and keeps it then. The best has the highest
    // accuracy, then the lower loss, then the later epoch; among those of one size: a model is used
    // at the size that it was last trained for. Without an evaluation it is the last.
    void compare_with_best(EpochReport& row, const TrainOptions& options);
};

using Metadata = std::map<std::string, std::string>;

// All that a checkpoint's metadata says, but for the images that failed: model, options, data,
// progress. The writer adds what only the state knows.
Metadata checkpoint_metadata(const LearnerCore& core, const TrainingProgress& progress);

// The progress of a checkpoint after `step` updates. `max_lr`: given for this run; empty: the
// checkpoint's own. At the end of a stage the next one has not begun.
TrainingProgress recorded_progress(const Metadata& metadata, std::int64_t step, std::optional<double> max_lr,
                                   const LearnerCore& core);

// Throws Error(usage) where options differ that would change the result, Error(data) where the
// images are not those of the checkpoint. `run`: the folder, for the message.
void check_same_training(const Metadata& metadata, const LearnerCore& core, std::optional<double> max_lr,
                         const std::string& run);

// Loads weights, moments and moving average of a checkpoint.
void restore_state(LearnerCore& core, const SafetensorsFile& checkpoint);

// JSON, and back.
std::string to_text(const Metadata& metadata);
Metadata metadata_from(const std::string& text);

// The text under this key, else empty.
std::string text_of(const Metadata& metadata, const std::string& key);

}  // namespace onecycle
