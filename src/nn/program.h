// The program is data: a flat list of ops (forward, loss, backward, update), compiled from a
// network. Each op names what it reads and writes, its branch, the ops it waits for, its FLOPs
// and bytes. From this one list come the memory plan, the runnable step, the listing and the
// profile.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nn/state.h"
#include "onecycle/network.h"
#include "ops/ops.h"
#include "rules/resident_image.h"

namespace onecycle {

enum class Mode : std::uint8_t {
    train,     // forward with batch statistics, loss, backward, update
    evaluate,  // forward with running statistics, loss, metrics
    predict,   // forward with running statistics, probabilities
};

enum class Phase : std::uint8_t { forward, loss, backward, update };
const char* name_of(Phase phase);

// What a training leaves as it is: the weights of the first `parts` of the network, but not their
// batch norms, which go on learning as in fastai; with `norms` these too, and they then normalise
// by their running statistics.
struct Frozen {
    int parts = 0;
    bool norms = false;

    bool operator==(const Frozen&) const = default;
};

// Images that stay on the device, of which training batches are made. In memory: the table, a
// ResidentImage for each sample, then at the next multiple of 256 the pixels. With several shares
// there are pixels of those alone that this rank draws from.
struct ResidentInput {
    std::uint64_t seed = 0;
    RandomPurpose order = RandomPurpose::shuffle;
    std::int64_t samples = 0, pixel_bytes = 0;
    int shares = 1;  // of SampleOrder
    ViewRule view{};
    int largest_crop = 0;  // the longest side of an image that a view reads

    std::size_t table_bytes() const { return static_cast<std::size_t>(samples) * sizeof(ResidentImage); }
    std::size_t pixels_at() const { return (table_bytes() + 255) / 256 * 256; }
    std::size_t bytes() const { return pixels_at() + static_cast<std::size_t>(pixel_bytes); }

    bool operator==(const ResidentInput&) const = default;
};

// Everything a program depends on. Equal keys give equal programs.
struct ProgramKey {
    Mode mode = Mode::train;
    int batch = 64;
    float label_smoothing = 0;
    bool class_weights = false;
    std::array<float, 3> mean{0.485f, 0.456f, 0.406f}, stddev{0.229f, 0.224f, 0.225f};
    OptimizerOptions optimizer;
    Frozen frozen;
    std::vector<double> group_rates;  // factor of each group's learning rate; empty: 1
    double mixup = 0, cutmix = 0;     // alpha of each, in training; 0: without it
    std::uint64_t seed = 0;           // of dropout, mixup and cutmix
    int micro = 0;                    // which micro batch of optimizer.accumulate; the last one updates
    int rank = 0, ranks = 1;          // processes that train together: see device/communicator.h
    bool two_levels = false;          // ranks exchange in groups of eight, then between the groups
    bool sync_batch_norm = false;     // batch norms that learn normalise by the batches of all ranks
    int input_slots = 0;  // batches that the host hands over ahead; 0: one, in order with the launches
    std::optional<ResidentInput> resident;  // where training batches come from; else the host hands them over
    bool confusion = false;                 // evaluate: counts what each class is taken for
    bool fuse = true;                       // false: every layer by itself, for comparison
    bool side_branch = false;  // weight gradients on branch 1, even where the back end gains nothing

    // Of an update, on all ranks.
    int batches_per_update() const { return optimizer.accumulate * ranks; }
    // Ranks whose batches a batch norm that learns normalises by.
    int ranks_of_batch_norm() const { return sync_batch_norm ? ranks : 1; }

    bool operator==(const ProgramKey&) const = default;
};

struct Buffer {
    std::string name;  // "layer1.0.conv1.out", "grad layer1.0.conv1.weight"
    TensorDesc desc;
    Space space = Space::arena;
    std::size_t bytes = 0;
    std::size_t offset = 0;  // bytes from the start of its space
};

struct ProgramOp {
    std::string name;  // "layer1.0.bn1+relu"
    Phase phase{};
    int branch = 0;
    std::vector<int> inputs, outputs;  // buffers, in the order of the operation's contract
    std::vector<int> waits;            // ops of other branches that must be done before
    OpDesc desc;
    std::string implementation;
    int reorders = 0;
    std::size_t workspace = 0;         // bytes of scratch memory while it runs
    std::size_t workspace_offset = 0;  // in the arena
    double flops = 0, bytes = 0;       // see cost.h
};

// Compiled, not yet bound to memory. Movable.
struct Program {
    ProgramKey key;
    std::vector<Buffer> buffers;
    std::vector<ProgramOp> ops;
    std::vector<std::unique_ptr<Op>> implementations;  // one an op
    std::size_t arena_bytes = 0;                       // the planned peak: activations and workspaces
    // Buffers the host deals with. -1 where the mode has none. With input_slots and `resident`
    // there are no images, and labels and count are the program's own.
    int images = -1, labels = -1, count = -1, class_weights = -1, result = -1, probabilities = -1,
        counts = -1;
    std::size_t input_bytes = 0;  // of Space::input

    double flops() const;
    double bytes() const;
};

Program compile(const Network& network, const StateLayout& layout, const Backend& backend,
                const ProgramKey& key);

// The listing of `onecycle plan --program`.
std::string listing(const Program& program);

// A program bound to a state and an arena. Which weights it sees is decided here.
class Runnable {
  public:
    // `arena` must hold at least program.arena_bytes, `ema` binds the moving average in place
    // of the weights and statistics (evaluation only). All three must outlive the runnable.
    // `input`: memory for Space::input that programs share (InputSlots, the resident images); null:
    // the runnable's own.
    Runnable(Program& program, State& state, DeviceMemory& arena, bool ema = false,
             const DeviceMemory* input = nullptr);

    // Copies a batch into the input slot: images u8 [n,H,W,3] with n <= batch, labels i32 [n] (may
    // be null in predict mode). Rows from n on count for nothing. Not with input_slots or
    // `resident`.
    void set_batch(const std::uint8_t* images, const std::int32_t* labels, int n);
    void set_class_weights(const std::vector<float>& weights);
    // The counts of a program that has them: i32 [label, answer]. They go on from launch to launch.
    void clear_counts();
    const DeviceMemory& counts() const { return counts_; }

    void launch() { launchable_->launch(); }
    // See Launchable::launch_unless(). A launch that is left has changed nothing of the state that
    // the next one looks at: only the arena, gradients, and what micro batches have summed.
    int launch_unless(const std::function<int()>& stop) { return launchable_->launch_unless(stop); }

    // Runs one op after the other and calls `observe(op, seconds)` after each: the same bits as
    // launch(). For tests and fault-finding, which look at buffers between ops.
    void run_eagerly(const std::function<void(int op, double seconds)>& observe);

    // Runs every op once. Returns the seconds that each took, by the device's own clock.
    std::vector<double> step_seconds();

    BatchResult read_result() const;
    // So many ways for a result to the host, while later launches run.
    std::vector<std::unique_ptr<SideCopy>> result_copies(int count);
    std::vector<float> read_probabilities(int n) const;  // [n, classes]
    // Any buffer in plain order; for tests and fault-finding, valid until its memory is used again.
    std::vector<float> read(int buffer) const;

  private:
    std::byte* address(int buffer) const;

    Program* program_;
    State* state_;
    DeviceMemory* arena_;
    bool ema_;
    DeviceMemory own_input_, constant_, counts_;
    std::byte* input_;
    std::vector<std::vector<void*>> inputs_, outputs_;  // by op
    std::unique_ptr<Launchable> launchable_;
};

}  // namespace onecycle
