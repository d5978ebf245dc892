// Plans of cuDNN 9's backend API, for convolutions and for graphs of more (cudnn_graph.h). cuDNN is
// opened at run time. Plans can be looked for on a GPU (with a handle) or for a GPU that is only
// described, in cuDNN's JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ops/cuda/convolution_problem.h"

namespace onecycle::cudnn {

// Plans that want more workspace are not used.
inline constexpr std::size_t workspace_cap = std::size_t{256} << 20;

struct Functions;  // cuDNN's, by pointers
class Descriptor;
class Graph;

// The library. Throws Error(device) when it cannot be opened.
class Library {
  public:
    Library();
    std::string version() const;  // "9.19.0"
    const std::shared_ptr<const Functions>& functions() const { return functions_; }

  private:
    std::shared_ptr<const Functions> functions_;
};

// Where plans are to run. With a device text they can be looked for and finalised, not run.
class Target {
  public:
    // On the current GPU. Throws Error(device).
    explicit Target(const Library& library);
    // For the GPU that the text stands for: CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION.
    Target(const Library& library, const std::string& device_text);

    const Functions& functions() const { return *functions_; }
    void* handle() const { return handle_.get(); }  // a cudnnHandle_t, or null
    const Descriptor* device() const { return device_.get(); }
    // The text that stands for the current GPU.
    std::string device_text() const;

  private:
    std::shared_ptr<const Functions> functions_;
    std::shared_ptr<void> handle_;
    std::shared_ptr<const Descriptor> device_;
};

// An engine and the settings of its knobs: all that is needed to make the plan again.
struct EngineChoice {
    std::int64_t engine = -1;
    std::vector<std::pair<std::int64_t, std::int64_t>> knobs;  // type, value
    bool operator==(const EngineChoice&) const = default;
};
// "engine 32: 2=3 13=1". The second reads what the first writes; nothing when it is something else.
std::string to_string(const EngineChoice& choice);
std::optional<EngineChoice> engine_choice(const std::string& text);

struct Candidate {
    EngineChoice choice;
    bool deterministic = true;
    bool tensor_cores = false;  // or inputs of less precision than given: f32 becomes TF32
    bool rounds_sums = false;   // partial sums of 16-bit products are added up in less than f32
    bool compiled_at_run_time = false;
};

// May this candidate be used, for inputs of this type? f32 is TF32 only where allowed; sums are f32
// always.
bool allowed(const Candidate& candidate, DType type, bool deterministic, bool tf32);

class Plan {
  public:
    std::size_t workspace() const { return workspace_; }
    // Puts the work on a cudaStream_t. `tensors`: the graph's, in their order; of a convolution
    // both inputs in the order of ConvolutionProblem, then the output. Throws Error(device).
    void run(const std::vector<void*>& tensors, void* workspace, void* stream) const;

  private:
    friend class Finder;
    Target target_;
    std::vector<std::int64_t> ids_;  // of the tensors
    std::size_t workspace_ = 0;
    std::vector<std::shared_ptr<const Descriptor>> parts_;  // the plan is the last

    Plan(const Target& target, const std::vector<std::int64_t>& ids) : target_(target), ids_(ids) {}
};

// Looks for plans of one convolution, or of a graph.
class Finder {
  public:
    Finder(const Target& target, const Graph& graph);
    Finder(const Target& target, const ConvolutionProblem& problem);

    // cuDNN's suggestions, best first: heuristic A, then the fallback engines, each choice once.
    std::vector<Candidate> candidates() const;
    // Nothing when cuDNN cannot make it, for example because it would have to be compiled on the
    // device.
    std::optional<Plan> plan(const EngineChoice& choice) const;

  private:
    Target target_;
    std::vector<std::int64_t> ids_;
    std::vector<std::shared_ptr<const Descriptor>> parts_;  // the operation graph is the last
};

}  // namespace onecycle::cudnn
