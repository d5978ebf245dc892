// Checkpoints that are written while training goes on.
#pragma once

#include <chrono>
#include <future>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "nn/state_copy.h"
#include "onecycle/options.h"
#include "onecycle/run_folder.h"
#include "train/model_tensors.h"

namespace onecycle {

// A state is copied in the order of launches, the copy leaves the device beside the launches that
// follow, and a thread makes the file. One is on its way at most: the next waits for it. All calls
// come from one thread.
//
// One that fails (Error(io)) is told once and tried again from the same copy, after pauses that grow,
// until it is written or a newer one takes its place. With SaveErrors::stop the failure is thrown.
class CheckpointWriter {
  public:
    // Takes the memory for a copy. State and folder must outlive it.
    // `images`: the packed list of images, which must outlive this; empty: the files have none.
    CheckpointWriter(const State& state, RunFolder& run, LogSink log,
                     std::span<const std::uint8_t> images = {}, SaveErrors errors = SaveErrors::stop);
    // Finishes what is on its way.
    ~CheckpointWriter();

    struct Request {
        std::int64_t step = 0;     // updates done
        std::int64_t batches = 0;  // what num_batches_tracked says
        std::int64_t best_step = -1;
        std::map<std::string, std::string> metadata{};
    };
    // The state as everything launched so far leaves it. It carries its own status: one that was
    // stopped, or is not that of `step`, is never written. Rows of the folder's logs must be there.
    // Throws as check().
    void save(Request request);

    // Throws what went wrong beside: Error(io), or NotFinite. Begins what is to be tried again by
    // now. Does not wait.
    void check();
    // Waits until everything is durable; what failed is tried once more. Throws NotFinite, or the
    // Error(io) of the last try.
    void finish();

    // Of the newest one that is durable; 0 and "" while there is none.
    std::int64_t step() const { return step_; }
    const std::string& digest() const { return digest_; }

  private:
    // What the thread did: the digest is empty where nothing was written.
    struct Written {
        std::int64_t step = 0;
        std::string digest;
        std::vector<std::pair<LogLevel, std::string>> lines;
    };
    Written write(const Request& request);
    void start();
    void settle();  // waits for the thread
    void keep_for_later(const Error& error);

    RunFolder& run_;
    std::span<const std::uint8_t> images_;
    LogSink log_;
    bool loss_scale_;  // training has one
    StateCopy copy_;
    ModelTensors tensors_;
    SaveErrors errors_;
    std::optional<Request> request_;  // on its way, or to be tried again
    std::future<Written> writing_;
    std::chrono::seconds pause_{1};
    std::chrono::steady_clock::time_point try_at_{};
    bool told_ = false;  // of the failure
    std::int64_t step_ = 0;
    std::string digest_;
};

// The state holds a value that is not finite, and was not written.
struct NotFinite {
    std::int64_t update;  // index of the last one that the state saw
    std::string tensor;
};

}  // namespace onecycle
