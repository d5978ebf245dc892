// An evaluation that looks at every image by itself: which are the worst, what their mirror images
// say.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/loader.h"
#include "nn/program.h"
#include "nn/state.h"
#include "onecycle/evaluation.h"

namespace onecycle {

// Reads the logits of every batch and computes the figures on the host, in double precision; where
// only sums are wanted, Evaluator is faster. The figures are the same.
class ImageEvaluator {
  public:
    ImageEvaluator(const Network& network, const StateLayout& layout, const Backend& backend, ProgramKey key);

    std::size_t arena_bytes() const { return program_.arena_bytes; }
    // `ema`: the moving average's weights. State and arena must outlive the evaluator.
    void bind(State& state, DeviceMemory& arena, bool ema);

    // `loader` goes through `samples` in their order. Throws Interrupted when `stop` (may be null)
    // says so. `ranks` (may be null): the loader has this rank's batches; the figures are those of
    // all, and one rank's.
    Evaluation evaluate(Loader& loader, const std::vector<Sample>& samples,
                        const std::vector<std::string>& classes, const EvaluateOptions& options,
                        const std::function<int()>& stop, Communicator* ranks = nullptr);

  private:
    struct Answer;
    std::vector<Answer> answers(Loader& loader, std::size_t classes, bool tta,
                                const std::function<int()>& stop, Communicator* ranks);
    std::vector<double> log_probabilities(const std::uint8_t* pixels,
                                          const Batch& batch);  // [count, classes]

    Program program_;
    int logits_ = -1;
    std::optional<Runnable> runnable_;
};

}  // namespace onecycle
