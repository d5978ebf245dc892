// What a learner is made of. Its work stands in free functions, one file each: range_test.cpp,
// fit.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/free_memory.h"
#include "device/communicator.h"
#include "onecycle/learner.h"
#include "train/engine.h"
#include "train/evaluator.h"
#include "train/image_store.h"
#include "train/resident_set.h"
#include "train/stages.h"
#include "train/train_step.h"

namespace onecycle {

struct LearnerCore {
    LearnerCore(const Dataset& dataset, const TrainOptions& options, Observer observer,
                const Architecture& architecture);
    LearnerCore(const Dataset& from, const TrainOptions& given, Observer watching)
        : LearnerCore(from, given, std::move(watching), onecycle::architecture(given.arch)) {}

    void log(LogLevel level, const std::string& line) const {
        if (observer.log && leads()) observer.log(level, line);
    }
    int stop_signal() const { return observer.stop ? observer.stop() : 0; }
    // Of the evaluation side, by `evaluator`. Throws Interrupted when the observer stops it.
    Evaluator::Totals evaluate() {
        return evaluator.totals(valid_loader(), observer.stop, observer.stop_at_once, ranks());
    }

    // The job, or null. Its calls are made by all ranks in the same order, with no step under way.
    Communicator* ranks() const { return observer.ranks.get(); }
    RankPlace place() const { return ranks() ? ranks()->place() : RankPlace{}; }
    bool leads() const { return place().rank == 0; }
    // The signal that ended a loop, the same on all ranks; 0: none did.
    int signal_of(const LoopEnd& end) const;
    // With several ranks: throws Error(device) that names the rank whose weights differ.
    void compare_ranks() const;
    // Makes the images that failed on any rank known to all.
    void share_faults(std::int64_t before_batch) const;

    std::int64_t steps_per_epoch() const;  // updates
    // The images that one update uses.
    std::int64_t images_per_step() const { return step.batch() * batches_per_update(options); }

    // In images: a batch is of one share of the training side.
    std::int64_t largest_batch() const { return std::ssize(dataset.train) / options.shares; }
    std::unique_ptr<Loader> make_train_loader(int batch);
    Loader& train_loader();
    // Returns the key of a training step with where it finds its batches, and its rank.
    ProgramKey with_input(ProgramKey key) const;
    // Returns the images on the device; null where the host hands batches over.
    const DeviceMemory* resident_memory() const { return resident ? &resident->memory() : nullptr; }
    // Makes ready for the batches of these numbers: starts the loader, or sees to it that the
    // images are on the device. Returns the signal that stopped it, else 0.
    int start_batches(const TrainStep& step, Loader& loader, std::int64_t first, std::int64_t last);
    // Whether there is an evaluation side: --valid-fraction 0 holds nothing out.
    bool evaluates() const { return !dataset.valid.empty() || options.valid_fraction > 0; }
    Loader& valid_loader();  // throws Error(data) when there is nothing to evaluate on
    std::unique_ptr<Loader> make_evaluation_loader(const std::vector<Sample>& samples,
                                                   std::shared_ptr<ImageFaults> record) const;

    // Takes the convolution plans of a checkpoint (PlanBook::text()) where they can be had,
    // compiling anew if others are in use; a line says so where one cannot.
    void use_plans(const std::string& record);

    Evaluator& bound_evaluator();  // with confusion counts
    Predictor& bound_predictor();

    Network network_for(int size) const;  // pixels
    // Makes programs and loaders those of this stage and size. The state is not touched: where its
    // tensors lie depends on neither.
    void use(const Stage& stage, int size);
    // Of the images that the programs take, in pixels.
    int size() const { return static_cast<int>(network.layers().front().shape[1]); }

    // Keeps the resident set if it fits, or this rank's share of it where shares fit on all ranks;
    // else the step is made anew without it. Settles TrainOptions::shares.
    void choose_input();
    // Decides where the host keeps images, of which memory may take a share of `free` bytes.
    void choose_image_store(std::uint64_t free);
    // The kept images of the training side at the present size; made when it is first asked for.
    const std::shared_ptr<KeptImages>& training_images();
    void tell_complaints();
    // Compiles `step` by its key, and `evaluator`; the others at their next use.
    void make_programs(const ProgramKey& key);
    void bind_programs();

    // The programs' common memory, or memory of their own where they need more.
    DeviceMemory& arena_for(std::size_t bytes);

    Dataset dataset;
    Architecture architecture;
    TrainOptions options;  // resolved
    Observer observer;
    std::vector<std::string> class_names;  // printable
    std::string dataset_digest;
    std::vector<std::uint8_t> packed_images;  // the list of images, as checkpoints carry it
    std::shared_ptr<ImageFaults> faults;
    std::int64_t next_batch = 0;  // of training, by its number: where the state stands
    // Bytes, before anything large was taken: this rank's share of what the machine has.
    std::uint64_t host_free = free_memory(place().local_ranks);
    // How the ranks exchange gradients.
    bool two_levels = observer.ranks && groups_share_machines(*observer.ranks);
    Engine engine;
    Network network;
    State state;
    std::vector<float> class_weights;     // empty without
    std::optional<ResidentSet> resident;  // empty: the host hands batches over
    TrainStep step;
    Evaluator evaluator;                        // sums alone: what training looks at
    std::unique_ptr<Evaluator> full_evaluator;  // made at their first use
    std::unique_ptr<Predictor> predictor;
    std::vector<std::unique_ptr<DeviceMemory>> arenas;
    StoreChoice store;
    std::shared_ptr<ImageCache> image_file;  // null: none
    std::shared_ptr<KeptImages> kept;        // of the training side
    std::unique_ptr<Loader> train, valid;    // made at their first use
    bool estimate_given = false;             // see give_time_estimate()
};

// The key of every program of a training; of its first stage, or of another. Without `resident`.
ProgramKey program_key(const TrainOptions& options, const Network& network, int batch);
ProgramKey program_key(const TrainOptions& options, int batch, const Stage& stage);

// Runs one range test with this step and loader, and puts the state back whatever happens.
RangeTestResult run_range_test(LearnerCore& core, TrainStep& step, Loader& loader, const FindOptions& options,
                               double momentum);

// Whether the test of `--max-lr auto` takes more updates than the whole training.
bool outlasts_training(const LearnerCore& core);

// See Learner::try_rates().
std::vector<RateTrial> run_trials(LearnerCore& core, const std::vector<double>& rates,
                                  const TrialOptions& options);

FitResult run_fit(LearnerCore& core, const FitOptions& options);

}  // namespace onecycle
