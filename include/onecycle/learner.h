// Find the learning rate, then train. A whole training in C++:
//
//     onecycle::Learner learner({.data = "photos", .size = 128, .epochs = 3});
//     learner.fit({.max_lr = learner.find().analysis.auto_lr});
//     learner.save("photos.safetensors");
//
// Nothing here prints, exits or keeps global state. Equal data, options and seed give equal bytes,
// for any number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "onecycle/dataset.h"
#include "onecycle/evaluation.h"
#include "onecycle/log.h"
#include "onecycle/model.h"
#include "onecycle/options.h"
#include "onecycle/range_test.h"
#include "onecycle/ranks.h"

namespace onecycle {

class RunFolder;

// What is known after an update, a little late.
struct StepReport {
    enum class Activity { find, trial, train };
    Activity activity = Activity::train;
    std::int64_t step = 0, steps = 0;    // this update, counted from 0, and all that are planned
    std::int64_t epoch = 0, epochs = 0;  // likewise; 0 of 0 but in a training
    double loss = 0;                     // mean batch loss before the update
    double smoothed_loss = 0;            // fastai's average (beta 0.98), for display
    double lr = 0, momentum = 0;         // as used
    double images_per_second = 0;        // of the last steps
    double seconds_left = 0;             // estimate, evaluations included
    int size = 0;  // of the images, in pixels, where TrainOptions::sizes has several; else 0
};

// A row of metrics.csv.
struct EpochReport {
    std::int64_t epoch = 0;  // counted from 0
    double train_loss = 0;   // mean of the epoch's batch losses
    // False: TrainOptions::valid_fraction of 0, the two figures below say nothing.
    bool evaluated = true;
    double valid_loss = 0, accuracy = 0;
    double lr = 0;                 // of the epoch's last update
    double images_per_second = 0;  // of training, evaluation aside
    double seconds = 0;            // of training and evaluation
    // Of the accuracy, when fewer than 1000 images were evaluated.
    std::optional<Interval> interval{};
    bool best = false;  // the best so far
};

// All are optional and are called on the thread that calls the learner. An exception thrown by one
// passes through; the state is then as after the last step (a range test: as before it).
struct Observer {
    std::function<void(const StepReport&)> on_step{};
    std::function<void(const EpochReport&)> on_epoch{};
    std::function<void(const RangeTestResult&)> on_range_test{};  // each that fit() runs for itself
    // Asked after each step: not 0 (the signal's number) ends the work in order.
    std::function<int()> stop{};
    // Asked also in the midst of a step, between its operations, where the device runs them one by
    // one (the CPU): not 0 leaves that step, as if it had not begun, and ends the work in order.
    std::function<int()> stop_at_once{};
    std::function<bool()> save{};  // asked after each update of fit(): true saves a checkpoint and goes on
    LogSink log{};
    // The job that this process is a rank of (onecycle/ranks.h); null: it trains alone. All ranks
    // make the same calls of a learner, with the same options; every rank returns the same figures
    // of a call, and files, and what they say of earlier ones, come from rank 0 alone.
    std::shared_ptr<Communicator> ranks{};
    // fit() goes on from a checkpoint, which has the weights: TrainOptions::init is not read.
    bool resumes = false;
};

struct FitOptions {
    // Empty: TrainOptions::max_lr; empty too: found by a range test.
    std::optional<double> max_lr{};
    RunFolder* run = nullptr;  // null: nothing is written
};

struct FitResult {
    std::vector<EpochReport> epochs{};  // all, also those before a resume
    double max_lr = 0;
    std::int64_t step = 0, steps = 0;  // updates done, planned
    std::optional<std::int64_t> best_epoch{};
    // Path and digest of the last one; empty without a run folder.
    std::string checkpoint{}, digest{};
    double seconds = 0, images_per_second = 0;  // of this call
    std::int64_t bad_images = 0;                // left out: when the list was made, or since
    int signal = 0;                             // not 0: stopped by `stop`, after saving
    bool finished() const { return step == steps; }
};

// Whether a checkpoint is of the run that has these options (of its config.json) and images
// (digest(); empty: any).
std::function<bool(const std::map<std::string, std::string>& metadata)> belongs_to(
    const TrainOptions& options, const std::string& dataset_digest = "");

// What fit() returned of a run that is finished, without its images; nothing of any other run. Throws
// Error(io) when its checkpoints cannot be read.
std::optional<FitResult> finished_result(const std::string& run, const TrainOptions& options);

// Opens options.data to continue the run in this folder. Where its newest checkpoint lists images,
// the sides are those, in their order, whatever was added since; an image that is missing or has
// other contents stays in its place and is left out when its turn comes (docs/data.md).
// Throws Error(data) where options.bad_images is `fail` or more than options.max_bad are gone,
// those aside that the run went without already; and as open_dataset(). `progress`: as
// DatasetOptions.
Dataset reopen_dataset(const std::string& run, const TrainOptions& options, const LogSink& log = {},
                       const std::function<int()>& stop = {},
                       const std::function<void(std::int64_t images, std::int64_t of)>& progress = {});

// --- does a rate hold? A short training by one cycle says ---

struct TrialOptions {
    std::int64_t updates = 0;  // of each trial; 0: two epochs, but 50 at least and 200 at most
};

// A trial that diverged has no loss and no accuracy.
struct RateTrial {
    double lr = 0;  // the maximum of its cycle
    std::int64_t updates = 0;
    // On the evaluation side, after the last update.
    std::optional<double> valid_loss{}, accuracy{};
    Interval interval{0, 1};  // of the accuracy, Wilson, 95 %
    std::int64_t n = 0;       // evaluated images; 0: diverged
};

class Learner {
  public:
    // Opens the folder options.data as `onecycle train` does: all cores check the images, and
    // observer.log hears of those that are left out. Throws as open_dataset() and as below, and
    // Interrupted when observer.stop ends the opening.
    explicit Learner(const TrainOptions& options, Observer observer = {});
    // Checks the options, compiles the programs and makes fresh weights (or loads options.init).
    // A data set from open_dataset() knows its folder, split and labels: it replaces what the
    // options say of them. Throws Error(usage), Error(device), Error(model), Error(data) for a set
    // with fewer than two training images.
    Learner(const Dataset& dataset, const TrainOptions& options, Observer observer = {});
    // Likewise, of this architecture: options.arch becomes its name. Throws Error(usage) also for
    // what Architecture::make() refuses.
    Learner(const Dataset& dataset, const TrainOptions& options, Observer observer,
            const Architecture& architecture);
    ~Learner();
    Learner(Learner&&) noexcept;

    const TrainOptions& options() const;  // resolved
    const Dataset& dataset() const;
    const Network& network() const;
    std::int64_t steps_per_epoch() const;    // updates
    std::uint64_t checkpoint_bytes() const;  // the size of one, its header aside
    // What a run's checkpoints take at most at one time: the two newest, the best, and the one that
    // is being written.
    std::uint64_t run_bytes() const;

    // The lines that a training begins with: class counts, network, steps, device.
    std::vector<std::string> describe() const;

    // Runs a range test from the present state at the momentum that the policy has at its peak, and
    // puts everything back, also when it is stopped or an exception passes. The data order and
    // augmentation are those of an epoch that no training reaches.
    RangeTestResult find(const FindOptions& options = {});

    // The range test from the same start for each value. Batch size changes the images per step
    // with it.
    std::vector<SweepResult> sweep(SweepParameter parameter, const std::vector<double>& values,
                                   const FindOptions& options = {});

    // Trains from the present state for a short one cycle up to each rate, evaluates, and puts
    // everything back, also when it is stopped or an exception passes. Each sees the images that
    // fit() begins with, in the same order. A trial that diverges is told in its result. Throws
    // Error(data) when there is nothing to evaluate on, Error(usage) for a number of updates below
    // 0, Interrupted when stopped.
    std::vector<RateTrial> try_rates(const std::vector<double>& rates, const TrialOptions& options = {});

    // Trains for options().epochs. With a run folder it writes config.json, steps.csv, metrics.csv
    // and checkpoints (at every epoch's end, and every `checkpoint_every` updates), and it
    // continues from the newest good checkpoint that the folder holds: bit for bit as if never
    // interrupted. What cannot be written then follows TrainOptions::save_errors: with `go_on` it is
    // told once and tried again, and Error(io) thrown only when the last state could not be saved;
    // also when the run folder is no longer there.
    // Without a rate it runs find() first and takes auto_lr; where the curve has no clear descent,
    // or the whole training has fewer updates than that test, it takes the rate that is usual for
    // such a training, saying so. Throws Error(diverged) when the loss or a gradient is not finite:
    // names the step and the tensor; the last checkpoint stays. Throws Error(data) when the images
    // are not those of the checkpoint. An image that can no longer be used follows
    // TrainOptions::bad_images: another takes its place (docs/data.md), or the state is
    // saved and UnusableImage thrown.
    FitResult fit(const FitOptions& options = {});

    // With the weights that count (the moving average, when on), at the size of the last epoch
    // (with TrainOptions::sizes, before any: the first). Throws Interrupted when stopped.
    Evaluation evaluate(const std::vector<Sample>& samples);
    Evaluation evaluate();  // the evaluation side
    // One entry a file, in order; a file that cannot be read has `error`, the others are answered.
    // Throws Error(usage) for `top` below 1, Interrupted when stopped.
    std::vector<Prediction> predict(const std::vector<std::string>& files, int top = 5);

    // Writes the weights that count as a model file (no moments): PyTorch's names, classes,
    // conventions (the size is that of evaluate()). A file that is there is replaced. Throws
    // Error(io).
    void save(const std::string& path) const;

    // Digest of everything that training carries from one update to the next.
    std::string state_digest() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace onecycle
