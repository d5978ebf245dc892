// Forward passes with running statistics: what a network knows, not how it learns.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/loader.h"
#include "nn/program.h"
#include "nn/state.h"
#include "onecycle/evaluation.h"
#include "onecycle/model.h"

namespace onecycle {

// Fills per_class and balanced_accuracy from the confusion counts.
void count_classes(Evaluation& evaluation, const std::vector<std::string>& classes);

// The part that counts, of 0 to 1; 0 of nothing.
inline double ratio(std::int64_t part, std::int64_t whole) {
    return whole ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

// Throws Error(data) for an evaluation that was left without an image.
void check_any(std::int64_t images);

// The key of a pass with running statistics: `key` without what only learning needs.
ProgramKey without_learning(ProgramKey key, Mode mode);

// Goes through the loader's batches, with several `ranks` (may be null: one) this rank's. Round r has
// one of each rank. `stop` (may be null) is asked before each; where one rank's says so, all leave
// together: throws Interrupted.
void for_each_batch(Loader& loader, const std::function<int()>& stop, Communicator* ranks,
                    const std::function<void(const Batch& batch, std::int64_t round)>& work);

// Throws Error(usage) for fewer than one answer an image.
void check_top(int top);

// Loss and accuracy over a list of images, the last part batch included. All sums are kept on the
// device, and the host waits once, at the end.
class Evaluator {
  public:
    // `key.confusion`: evaluate() can be called.
    Evaluator(const Network& network, const StateLayout& layout, const Backend& backend, ProgramKey key);

    std::size_t arena_bytes() const { return program_.arena_bytes; }
    // `ema`: the moving average's weights. State and arena must outlive the evaluator.
    void bind(State& state, DeviceMemory& arena, bool ema);

    struct Totals {
        double loss = 0;  // mean
        std::int64_t n = 0, correct = 0, correct5 = 0;
        double accuracy() const { return n ? static_cast<double>(correct) / static_cast<double>(n) : 0; }
    };
    // `stop` (may be null) is asked between batches, `stop_at_once` also in their midst; throws
    // Interrupted when one says so.
    // `ranks` (may be null): the loader has this rank's batches; the sums are those of all, added in
    // the order of batches, so that they are one rank's.
    Totals totals(Loader& loader, const std::function<int()>& stop,
                  const std::function<int()>& stop_at_once = {}, Communicator* ranks = nullptr);

    // All figures.
    Evaluation evaluate(Loader& loader, const std::vector<std::string>& classes,
                        const std::function<int()>& stop, Communicator* ranks = nullptr);

  private:
    void clear_sums();
    Totals totals_of_ranks(Loader& loader, const std::function<int()>& stop, Communicator& ranks);

    Program program_;
    State* state_ = nullptr;
    std::optional<Runnable> runnable_;
    std::unique_ptr<SideCopy> sums_;  // the control block and the counts, on their way to the host
};

// Probabilities of files.
class Predictor {
  public:
    struct Views {
        int size;
        double crop_pct;
        int threads;  // that read images
        std::function<int()> stop;
        std::int64_t max_pixels = DatasetOptions{}.max_pixels;  // of an image
        std::shared_ptr<DecodeBudget> decode_budget{};          // as ImageLimits::memory
    };

    Predictor(const Network& network, const StateLayout& layout, const Backend& backend, ProgramKey key);

    std::size_t arena_bytes() const { return program_.arena_bytes; }
    void bind(State& state, DeviceMemory& arena, bool ema);

    std::vector<Prediction> predict(const std::vector<std::string>& files,
                                    const std::vector<std::string>& classes, int top, const Views& views);

  private:
    Program program_;
    State* state_ = nullptr;
    std::optional<Runnable> runnable_;
};

}  // namespace onecycle
