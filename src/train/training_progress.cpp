#include "train/training_progress.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/echoed.h"
#include "onecycle/error.h"
#include "train/log_rows.h"
#include "train/model_info.h"
#include "train/model_tensors.h"
#include "train/options_record.h"

namespace onecycle {

void TrainingProgress::compare_with_best(EpochReport& row, const TrainOptions& options) {
    if (row.evaluated && !std::isfinite(row.valid_loss)) return;
    const auto size_of = [&](const EpochReport& r) { return size_of_epoch(options, r.epoch); };
    row.best = !row.evaluated || !best || size_of(row) != size_of(*best) || row.accuracy > best->accuracy ||
               (row.accuracy == best->accuracy && row.valid_loss <= best->valid_loss);
    if (row.best) best = row;
}

Metadata checkpoint_metadata(const LearnerCore& core, const TrainingProgress& progress) {
    TrainOptions options = core.options;
    options.max_lr = progress.max_lr;
    const std::string record = options_record(options);
    options.size = core.size();
    Metadata metadata = model_metadata(options, core.class_names);
    metadata["options"] = record;
    metadata["dataset"] = core.dataset_digest;
    metadata["epoch"] = std::to_string(progress.epoch);
    metadata["epoch_loss_sum"] = to_text(progress.loss_sum);
    metadata["steps"] = std::to_string(all_epochs(options) * core.steps_per_epoch());
    if (const std::string plans = core.engine.plans->text(); !plans.empty())
        metadata["convolution_plans"] = plans;
    metadata["seed"] = std::to_string(options.seed);
    metadata["max_lr"] = to_text(*progress.max_lr);
    if (progress.best) {
        EpochReport timeless = *progress.best;  // equal runs take unequal times
        timeless.images_per_second = timeless.seconds = 0;
        metadata["best"] = metrics_row(timeless);
    }
    if (progress.stage > 0) metadata["stage_lr"] = to_text(progress.stage_lr);
    if (core.dataset.automatic_split) {
        metadata["split_seed"] = std::to_string(options.split_seed.value_or(options.seed));
        metadata["split_fraction"] = to_text(options.valid_fraction);
    }
    return metadata;
}

TrainingProgress recorded_progress(const Metadata& metadata, std::int64_t step, std::optional<double> max_lr,
                                   const LearnerCore& core) {
    TrainingProgress progress{
        .step = step,
        .epoch = count_from(metadata, "epoch", 0),
        .loss_sum = number_from(metadata, "epoch_loss_sum", 0),
        .max_lr = max_lr ? *max_lr : max_lr_of_record(text_of(metadata, "options")),
    };
    if (const std::string best = text_of(metadata, "best"); !best.empty())
        for (const EpochReport& row : parse_metrics('\n' + best)) progress.best = row;
    const std::vector<Stage> stages = stages_of(core.options, core.network);
    std::size_t& stage = progress.stage;
    while (stage + 1 < stages.size() && step > stages[stage + 1].first_epoch * core.steps_per_epoch())
        ++stage;
    progress.stage_lr = number_from(metadata, "stage_lr", *progress.max_lr * stages[stage].rate);
    return progress;
}

void check_same_training(const Metadata& metadata, const LearnerCore& core, std::optional<double> max_lr,
                         const std::string& run) {
    TrainOptions options = core.options;
    options.max_lr = max_lr;
    const auto changed = differences_from_record(text_of(metadata, "options"), options);
    if (!changed.empty())
        throw Error(ErrorKind::usage, "cannot resume", echoed(run),
                    fmt::format("{} would change the result", fmt::join(changed, ", ")),
                    "leave it as it was, or start a new run");
    if (text_of(metadata, "dataset") != core.dataset_digest)
        throw Error(ErrorKind::data, "cannot resume", echoed(core.options.data),
                    "its images are not those that the run began with",
                    "put them back as they were, or start a new run");
}

void restore_state(LearnerCore& core, const SafetensorsFile& checkpoint) {
    State& state = core.state;
    auto weights = read_weights(checkpoint, core.network);
    if (state.has_ema()) {
        state.set_weights(weights, true);
        weights = read_weights(checkpoint, core.network, training_prefix);
    }
    state.set_weights(weights);
    state.set_moments(read_tensors(checkpoint, state.moments()));
}

std::string to_text(const Metadata& metadata) {
    return nlohmann::json(metadata).dump();
}

Metadata metadata_from(const std::string& text) {
    return nlohmann::json::parse(text).get<Metadata>();
}

std::string text_of(const Metadata& metadata, const std::string& key) {
    const auto found = metadata.find(key);
    return found == metadata.end() ? std::string() : found->second;
}

}  // namespace onecycle
