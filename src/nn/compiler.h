// The compiler's parts: each adds its steps to one builder. `compile` in program.h runs them in turn.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "nn/program.h"

namespace onecycle {

// A forward step that has a backward side, in the order of the forward pass.
struct ForwardUnit {
    LayerKind kind{};
    const Layer* layer = nullptr;
    int x = -1, y = -1;            // buffers
    int residual = -1;             // batch norm: added before the ReLU; add: its second operand
    bool relu = false;             // batch norm with a fused ReLU
    int mean = -1, variance = -1;  // batch norm
    int index = -1;                // max pool, also of a batch norm fused with one: place of the maximum
    // A pair of batch norms that are added: the second one.
    const Layer* second = nullptr;
    int x2 = -1, mean2 = -1, variance2 = -1;
    const Layer* pool = nullptr;  // a max pool that a batch norm took along
};

// The batch statistics of a batch norm layer, for its running ones.
struct BatchStatistics {
    const Layer* layer;
    int mean, variance;
};

class ProgramBuilder {
  public:
    ProgramBuilder(const Network& network, const StateLayout& layout, const Backend& backend,
                   const ProgramKey& key);

    // Adds a step and makes its operation. Outputs that are new get their layout from it.
    void add_step(const std::string& name, Phase phase, OpDesc desc, std::vector<int> inputs,
                  std::vector<int> outputs, int branch = 0);

    int add_buffer(const std::string& name, const TensorDesc& desc, Space space = Space::arena,
                   std::size_t offset = 0);
    int activation(const std::string& name, const Layer& layer);  // [batch, C, H, W], layout any
    int vector(const std::string& name, std::int64_t channels);

    int control();  // the state's StepControl

    int parameter(int index) const { return parameter_buffers_[static_cast<std::size_t>(index)]; }
    int gradient(int index) const { return gradient_buffers_[static_cast<std::size_t>(index)]; }

    const TensorDesc& desc(int buffer) const {
        return program.buffers[static_cast<std::size_t>(buffer)].desc;
    }
    const std::string& name(int buffer) const {
        return program.buffers[static_cast<std::size_t>(buffer)].name;
    }

    const Network& network;
    const StateLayout& layout;
    const Backend& backend;
    Program program;

    // Left by the forward pass for the passes that follow.
    std::vector<ForwardUnit> units;
    std::vector<BatchStatistics> statistics;
    int logits = -1, logits_gradient = -1;

  private:
    std::vector<int> parameter_buffers_, gradient_buffers_;
    int control_ = -1;
};

void add_forward(ProgramBuilder& builder);
void add_loss(ProgramBuilder& builder);
void add_backward(ProgramBuilder& builder);
void add_update(ProgramBuilder& builder);

}  // namespace onecycle
