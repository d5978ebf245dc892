// The compiler's parts: each adds its ops to one builder. `compile` in program.h runs them in
// turn.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "nn/program.h"
#include "rules/sum_order.h"

namespace onecycle {

// A forward op that a gradient flows back through, in the order of the forward pass.
struct ForwardUnit {
    LayerKind kind{};
    const Layer* layer = nullptr;
    int x = -1, y = -1;            // buffers
    int residual = -1;             // batch norm: added before the ReLU; add: its second operand
    bool relu = false;             // batch norm with a fused ReLU
    int mean = -1, variance = -1;  // batch norm
    int index = -1;  // concat pool; max pool, also of a batch norm fused with one: place of the maximum
    // A pair of batch norms that are added: the second one.
    const Layer* second = nullptr;
    int x2 = -1, mean2 = -1, variance2 = -1;
    const Layer* pool = nullptr;  // a max pool that a batch norm took along
    int op = -1;                  // dropout: its op
};

// The batch statistics of a batch norm layer, for its running ones.
struct BatchStatistics {
    const Layer* layer;
    int mean, variance;
};

// What is added up over the micro batches of an update, and where sums are kept between passes.
struct SummedSpaces {
    Space values, sum, total;
};
inline constexpr SummedSpaces summed_gradients{Space::gradients, Space::gradient_sum, Space::gradient_total},
    summed_statistics{Space::batch_statistics, Space::statistics_sum, Space::statistics_total};

class ProgramBuilder {
  public:
    ProgramBuilder(const Network& network, const StateLayout& layout, const Backend& backend,
                   const ProgramKey& key);

    // Adds an op and makes its implementation. Outputs that are new get their layout from it.
    void add_op(const std::string& name, Phase phase, OpDesc desc, std::vector<int> inputs,
                std::vector<int> outputs, int branch = 0);

    int add_buffer(const std::string& name, const TensorDesc& desc, Space space = Space::arena,
                   std::size_t offset = 0);
    // [batch, C, H, W], in the layout that the operation chooses which writes it.
    int activation(const std::string& name, const Layer& layer);
    int vector(const std::string& name, std::int64_t channels);

    int control();  // the state's StepControl

    // Whether training leaves this parameter as it is.
    bool is_frozen(int parameter) const;
    // Whether this batch norm learns: it then normalises by the statistics of the batch.
    bool trains(const Layer& batch_norm) const;
    // The layout's table with the key's frozen set and rates.
    std::vector<ParameterSegment> parameter_table() const;

    // Whether the loss depends on this value by way of anything that is trained. Images and what
    // frozen layers make of them need no gradient, and nothing of them is kept for one.
    bool needs_gradient(int buffer) const { return needs_gradient_.count(buffer) > 0; }
    void set_needs_gradient(int buffer) { needs_gradient_.insert(buffer); }

    int parameter(int index) const { return parameter_buffers_[static_cast<std::size_t>(index)]; }
    int gradient(int index) const { return gradient_buffers_[static_cast<std::size_t>(index)]; }

    const TensorDesc& desc(int buffer) const {
        return program.buffers[static_cast<std::size_t>(buffer)].desc;
    }
    const std::string& name(int buffer) const {
        return program.buffers[static_cast<std::size_t>(buffer)].name;
    }

    // Whether batch norms that learn take their statistics over several ranks.
    bool synchronized() const { return program.key.ranks_of_batch_norm() > 1; }
    // Adds an op in which the ranks exchange data. All of these stand on one branch: every rank makes
    // them in the same order.
    void add_collective(const std::string& name, Phase phase, const OpDesc& desc,
                        const std::vector<int>& inputs, const std::vector<int>& outputs);

    // An all_reduce of the key's ranks and micro batches, without operands.
    OpDesc reduction() const;
    // Adds one of so many elements of flat buffers, from `begin` on.
    void add_reduction_op(const std::string& name, const OpDesc& desc, const SummedSpaces& spaces,
                          std::int64_t begin, std::int64_t elements);
    // The buffers in which the sums over micro batches are kept between passes: none to two.
    std::vector<int> sums(const std::string& name, const SummedSpaces& spaces, std::int64_t begin,
                          std::int64_t elements);
    // Whether groups of micro batches cross passes: see rules/sum_order.h.
    bool groups_cross() const {
        return groups_cross_passes(program.key.optimizer.accumulate, program.key.ranks);
    }

    const Network& network;
    const StateLayout& layout;
    const Backend& backend;
    Program program;

    // Left by the forward pass for the passes that follow.
    std::vector<ForwardUnit> units;
    std::vector<BatchStatistics> statistics;
    int logits = -1, logits_gradient = -1;
    int results = -1;                     // of all ranks; with one rank the batch's result
    int labels2 = -1, label_weight = -1;  // of mixed samples

  private:
    std::vector<int> parameter_buffers_, gradient_buffers_;
    std::set<int> needs_gradient_;
    int control_ = -1;
};

void add_forward(ProgramBuilder& builder);
int add_input(ProgramBuilder& builder, const Layer& layer);  // the buffer of what the network reads
void add_loss(ProgramBuilder& builder);
void add_backward(ProgramBuilder& builder);
void add_gather_results(ProgramBuilder& builder);
void add_reduction(ProgramBuilder& builder);
void add_update(ProgramBuilder& builder);

}  // namespace onecycle
