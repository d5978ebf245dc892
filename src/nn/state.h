// A state: everything that training changes. Flat buffers in device memory, one for each kind, so
// that an optimizer, a copy or a digest is one pass. Programs are compiled without a state and
// bound to one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "device/communicator.h"
#include "device/device.h"
#include "onecycle/network.h"
#include "ops/ops.h"
#include "rules/control.h"

namespace onecycle {

// Where each tensor lies in the flat buffers: parameters in the order of the backward pass (last
// layer first), each padded to 128 elements; statistics as [mean, variance] pairs. `compute` is the
// type that programs compute in; below f32, convolutions and classifier read 16-bit copies of their
// weights.
struct StateLayout {
    DType compute = DType::f32;
    std::vector<ParameterSegment> parameters;   // by index of Network::parameters()
    std::vector<TensorDesc> parameter_desc;     // shape and stored layout, f32
    std::vector<StatisticsSegment> statistics;  // by index of Network::statistics(); samples unset
    std::int64_t parameter_elements = 0;        // with padding
    std::int64_t statistics_elements = 0;
    // Where the batch's mean and variance of each batch norm lie where several micro batches make an
    // update, by index of Network::statistics(): the mean, and the variance padded(channels) later.
    std::vector<std::int64_t> batch_statistics;
    std::int64_t batch_statistics_elements = 0;

    StateLayout() = default;
    StateLayout(const Network& network, const Backend& backend, bool decay_norm_and_bias,
                DType compute = DType::f32);
};

// Elements that a tensor takes in a flat buffer.
constexpr std::int64_t padded_to_segment(std::int64_t elements) {
    return (elements + segment_alignment - 1) / segment_alignment * segment_alignment;
}

enum class Space : std::uint8_t {
    arena,             // activations and everything else that lives inside one step
    parameters,        // flat
    gradients,         // flat
    gradient_sum,      // flat, with accumulation
    gradient_total,    // flat, where groups of micro batches cross passes: see rules/sum_order.h
    half_parameters,   // flat, 16 bits: what convolutions and classifier read, at the offsets of parameters
    half_gradients,    // flat, 16 bits: the gradients of convolutions
    half_ema,          // flat, 16 bits: what they read where a program is bound to the average
    moment1,           // flat: SGD's momentum buffer, Adam's first moment
    moment2,           // flat: Adam's second moment
    statistics,        // running mean and variance
    batch_statistics,  // of a batch, and then their mean over the micro batches of an update
    statistics_sum,    // with accumulation
    statistics_total,  // where groups cross passes
    ema,               // [parameters, statistics]: the weights' moving average
    control,           // StepControl
    progress,          // StepProgress, in memory that the host reads too
    input,             // what the host fills: images, labels, count; or slots of them; or all images
    constant,          // class weights
    counts,            // of each class and answer, over the batches of an evaluation
    count_,
};
inline constexpr std::size_t space_count = static_cast<std::size_t>(Space::count_);

const char* name_of(Space space);

// A tensor by its torchvision name, in plain order, in host memory.
struct HostTensor {
    std::vector<std::int64_t> shape;
    std::vector<float> values;
};

// What the host sees of StepProgress at one moment.
struct ProgressSeen {
    std::int64_t launches, update;
    std::int32_t stop, first_bad;
    std::int64_t stopped_at;
    std::int32_t asked;
};

// Where a tensor of a state lies: an offset in elements of a flat buffer, in a stored layout.
struct StateTensor {
    std::string name;
    std::vector<std::int64_t> shape;
    TensorDesc desc;  // as stored, f32
    Space space{};
    std::int64_t offset = 0;
};

class State {
  public:
    // `place`: which rank of how many trains here.
    State(Device& device, const Network& network, StateLayout layout, const OptimizerOptions& optimizer,
          const RankPlace& place = {});
    // Only what evaluation and prediction need: no gradients, no moments.
    State(Device& device, const Network& network, StateLayout layout);

    const StateLayout& layout() const { return layout_; }
    const Network& network() const { return *network_; }
    Device& device() const { return *device_; }

    // The start of a flat buffer; null when this state has none (moment2 of SGD).
    std::byte* base(Space space) const {
        return space == Space::progress ? progress_.on_device()
                                        : memory_[static_cast<std::size_t>(space)].data();
    }
    std::size_t bytes(Space space) const {
        return space == Space::progress ? progress_.size() : memory_[static_cast<std::size_t>(space)].size();
    }

    // Both wait for the steps under way. Progress follows what is written.
    StepControl read_control() const;
    void write_control(const StepControl& control);

    // Without a call: how far the steps are; and the ring's entry of an update that is done and not
    // older than ring_size updates.
    ProgressSeen read_progress() const;
    const RingEntry& ring_entry(std::int64_t update) const { return progress().ring[update % ring_size]; }

    // Asks all ranks to stop after the update that is under way, or takes that back (0): what is
    // wanted stands in ProgressSeen::asked of all of them then.
    void want_stop(std::int32_t wanted);
    int ranks() const { return ranks_; }
    int rank() const { return rank_; }

    // Fresh weights by `seed`: Kaiming normal with fan-out for convolutions, PyTorch's uniform for
    // the classifier, norms 1 and 0, running statistics 0 and 1; moments 0. Random numbers are
    // counter-based.
    void initialise(std::uint64_t seed);

    // What the following four read and write.
    std::vector<StateTensor> weight_tensors(bool ema = false) const;
    std::vector<StateTensor> moment_tensors() const;

    // Tensors under torchvision's names: parameters, running_mean, running_var. `ema`: the
    // moving average instead of the weights. `num_batches_tracked` is kept by the caller.
    std::map<std::string, HostTensor> weights(bool ema = false) const;
    // Takes those that are named; throws Error(model) for an unknown name or another shape.
    void set_weights(const std::map<std::string, HostTensor>& tensors, bool ema = false);

    // Takes every weight and running statistic from `read`, one after the other, with no copy of
    // all of them between. What `read` returns, the tensor in plain order, must last until its next
    // call.
    using WeightSource = std::function<std::span<const float>(const std::string& name,
                                                              const std::vector<std::int64_t>& shape)>;
    void load_weights(const WeightSource& read);

    // Moments under "momentum." / "first_moment." and "second_moment." + parameter name.
    std::map<std::string, HostTensor> moments() const;
    void set_moments(const std::map<std::string, HostTensor>& tensors);

    bool has_ema() const { return bytes(Space::ema) > 0; }
    void reset_ema();  // ema = weights

    // 128-bit digest, as hex, of everything that training carries from one update to the next:
    // weights, statistics, moments, average, update counter. Computed on plain order: equal on
    // every back end that holds equal values.
    std::string digest() const;

    // Makes what training carries from one update to the next that of rank 0, counters aside. All
    // ranks call it.
    void broadcast(Communicator& ranks);

    // A copy of all buffers in device memory, and back: a range test leaves no trace. restore()
    // waits.
    struct Snapshot {
        std::vector<DeviceMemory> memory;
    };
    Snapshot snapshot() const;
    void restore(const Snapshot& snapshot);

  private:
    // Makes progress what this control block says. No step is under way.
    void set_progress(const StepControl& control);
    StepProgress& progress() const { return *reinterpret_cast<StepProgress*>(progress_.on_host()); }
    void allocate(Space space, std::size_t bytes);
    void make_half_copies(Space from, Space to);
    std::map<std::string, HostTensor> read(const std::vector<StateTensor>& list) const;
    // Those of the list that are named in `tensors`; refuses a name that is not in the list.
    void write(const std::vector<StateTensor>& list, const std::map<std::string, HostTensor>& tensors);

    Device* device_;
    const Network* network_;
    StateLayout layout_;
    OptimizerKind optimizer_{};
    int rank_ = 0, ranks_ = 1;
    std::vector<DeviceMemory> memory_;
    SharedMemory progress_;
};

}  // namespace onecycle
