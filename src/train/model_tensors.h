// The tensors of model files, read into a network and written from a state.
//
// A file of ours holds, under the network's own names, the weights that count: what was evaluated
// and what predict uses. That is the moving average where one is kept; the weights that training
// goes on with then stand under "training." + name. Moments stand under "momentum." or
// "first_moment." and "second_moment.".
#pragma once

#include <map>
#include <string>
#include <vector>

#include "nn/state_copy.h"
#include "onecycle/network.h"
#include "onecycle/tensor_file.h"

namespace onecycle {

// Throws Error(model) that names the file.
[[noreturn]] void refuse_file(const TensorFile& file, const std::string& why, const std::string& fix);

inline constexpr const char* training_prefix = "training.";

// Whether a tensor of a file of ours is there only for the training to go on.
bool is_training_state(const std::string& name);

using NamedShapes = std::map<std::string, std::vector<std::int64_t>>;

// Every tensor's name and shape that PyTorch gives such a network, statistics included.
NamedShapes named_shapes(const Network& network);
// The names of those that the head has: of the last part, or of the last layer where the network is
// one part.
std::vector<std::string> head_names(const Network& network);

std::string shape_text(const std::vector<std::int64_t>& shape);

// Reads one tensor into `values`. Throws Error(model) where it is missing, of another shape, or not
// finite, and for a negative variance.
void read_checked(const TensorFile& file, const std::string& name, const std::vector<std::int64_t>& shape,
                  std::vector<float>& values);
HostTensor read_tensor(const TensorFile& file, const std::string& name,
                       const std::vector<std::int64_t>& shape);

// Parameters and running statistics of `network`, all of them, stored as `prefix` + name. Throws as
// read_checked().
std::map<std::string, HostTensor> read_weights(const TensorFile& file, const Network& network,
                                               const std::string& prefix = "");
// All of them straight into a state, without a copy on the host. Throws likewise.
void load_weights(State& state, const TensorFile& file);
// The moments under the names that State::moments() gives; likewise.
std::map<std::string, HostTensor> read_tensors(const TensorFile& file,
                                               const std::map<std::string, HostTensor>& like,
                                               const std::string& prefix = "");

// The tensors of a file, in a copy of a state.
class ModelTensors {
  public:
    // `whole`: with everything that training needs to go on. The copy, which has arrived, must
    // outlive this.
    ModelTensors(const State& state, const StateCopy& copy, bool whole);

    // `batches`: what num_batches_tracked says. Each tensor is made plain when its turn comes.
    // Valid while this lives.
    std::vector<TensorSource> sources(std::int64_t batches);

    // The first tensor with a value that is not finite; empty when there is none.
    std::string not_finite() const;

  private:
    const StateCopy* copy_;
    std::vector<StateTensor> tensors_;  // by name
    std::vector<std::string> norms_;
    std::vector<float> plain_;  // the tensor whose turn it is
    std::int64_t batches_ = 0;
};

}  // namespace onecycle
