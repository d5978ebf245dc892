// What a training writes into its run folder, and reads back to go on; without a folder, nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/image_faults.h"
#include "formats/readers.h"
#include "onecycle/run_folder.h"
#include "rules/control.h"
#include "train/checkpoint_writer.h"
#include "train/training_progress.h"

namespace onecycle {

class RunRecord {
  public:
    // `run` may be null. Both must outlive the record.
    RunRecord(LearnerCore& core, RunFolder* run);

    std::optional<CheckpointFile> newest(const LogSink& log = {}) const;
    SafetensorsFile open(const CheckpointFile& checkpoint) const;

    // Takes this for the newest one that is durable.
    void continue_from(const CheckpointFile& checkpoint, const std::string& digest);

    void write_config(std::optional<double> max_lr);

    // Begins the logs, or goes on with those that are there, up to this step and epoch.
    void begin_logs(std::int64_t step, std::int64_t epoch);
    std::vector<EpochReport> epochs() const;  // the rows of metrics.csv
    void add(const RingEntry& entry, const std::vector<double>& group_rates);
    void add(const EpochReport& row);

    // Leaves out the images that a checkpoint's metadata says have failed, and lists them in
    // bad-images.txt.
    void restore_faults(const std::string& record, const std::string& checkpoint);

    // Begins a checkpoint; training goes on meanwhile. `next_batch`: number of the training batch
    // that follows.
    void save(const TrainingProgress& progress, std::int64_t next_batch);
    // Whether the state after so many updates is saved or on its way, or has nowhere to be saved.
    bool has(std::int64_t step) const { return !writer_ || saved_step_ == step; }
    // Throws what went wrong beside. Does not wait.
    void check();
    // Waits until everything is durable. Throws as check().
    void wait();

    // Of the newest checkpoint that is durable, of this fit or the one that it continues.
    const std::string& checkpoint() const { return checkpoint_; }
    const std::string& digest() const { return digest_; }

    // What a run that ends here leaves: the writer may have failed, so that only the folder knows.
    std::string kept() const;

  private:
    void write_bad_images();

    // Does it. Where it cannot be written: throws with SaveErrors::stop, else tells of it once.
    template <class Action>
    void write_if_possible(Action action);

    LearnerCore& core_;
    RunFolder* run_;
    int rate_groups_;
    bool begun_ = false;              // the logs
    bool told_ = false;               // of what could not be written
    std::int64_t saved_step_ = -1;    // perhaps on its way
    std::vector<ImageFault> faults_;  // in bad-images.txt
    std::string checkpoint_, digest_;
    std::optional<CheckpointWriter> writer_;
};

}  // namespace onecycle
