// What a network is made of. An operation is described by an `OpDesc`; a back end turns it into an
// `Op` that runs on raw buffers. Nothing above this layer knows which back end runs.
// kinds.h lists the kinds and the operands of each; here stands what its lines cannot say.
//
// Batch norm (the plain kinds), ReLU and dropout also take features [N,C] in plain order, of the
// program's type. So are linear's operands; only the classifier's y, the logits, is f32. The bias
// of a convolution is a pass of its own, since convolutions with one are few.
//
// dropout keeps element i of x where the i-th number of RandomStream(seed, dropout, control.update,
// dropout_layer + control.micro 2^32) is at least `dropout`, and divides it by 1 - dropout; the
// others become 0. The mask is a function of the update, never of how often or on what a step runs;
// nothing is kept for the backward pass.
//
// softmax_cross_entropy of mixed samples (label_pairs): with weight w of its label, a sample's
// loss, and likewise its weight under class weights, is w times that of label plus 1 - w times that
// of label2. Whether the answer is right is judged by the heavier of the two, of equal ones the
// first.
//
// With optimizer.ema_decay d the two updates keep an average of what they change: ema += (1
// - d) (new - ema). So what is frozen keeps an average that is equal to the bit.
//
// [control] of the loss is there with loss_scale; half_gradients and half_parameters where the
// program has them.
//
// 16-bit programs keep the weights of convolutions and linear layers twice: parameters are f32,
// half_parameters the copies that these layers read, at the same element offsets (the average
// alike, for evaluation). The gradients of convolutions come in 16 bits, in half_gradients. With
// accumulation the sum is f32, and the operations after it see no half_gradients.
//
// The micro batches of an update are added up in the order of rules/sum_order.h. gradient_sum is the
// sum so far; where groups cross passes it is the present group's, [gradient_total] is there for that
// of the groups before, and [control] for the number of the pass.
//
// take_batch lets the host hand batches over ahead of the steps that use them: micro batch m of
// update u lies in slot (u * accumulation + m) % S, as BatchLayout says, and the device's own
// counters choose the slot, so a step that was refused finds its batch again. Back ends that run a
// step while the host waits have no such kind.
//
// augment_images makes a batch from images that stay on the device: `order` says which ones micro
// batch control.micro of update control.update holds, `view` what is drawn for each; `table` has a
// ResidentImage for each sample. A back end whose host makes batches as fast has no such kind
// (Backend::resident_images).
//
// Only check_gradients looks at the stop flag and the counters; the others change nothing unless
// check.apply. `results` is the result of the batch, or with several ranks those of all of them, as
// gather_results puts them. With accumulation the earlier micro batches have run add_metrics: commit_step then
// records the mean over all of them, (sums.loss_sum + result.loss_sum) / (sums.weight +
// result.weight), and clears the sums. With accumulation add_metrics also counts control.micro,
// which commit_step sets back.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/tensor.h"
#include "device/device.h"
#include "onecycle/optimizer.h"
#include "ops/kinds.h"
#include "rules/sample_order.h"
#include "rules/view.h"

namespace onecycle {

// A batch in one piece, as a slot of take_batch holds it: the pixels first, bytes from its start,
// then these.
struct BatchLayout {
    std::size_t labels = 0, count = 0;  // i32 [N], i32 [1]
    std::size_t bytes = 0;              // of a slot

    BatchLayout(std::size_t pixel_bytes, std::size_t n)
        : labels((pixel_bytes + 15) / 16 * 16),
          count(labels + n * sizeof(std::int32_t)),
          bytes((count + sizeof(std::int32_t) + 255) / 256 * 256) {}
};

// Tensors in flat buffers begin at multiples of so many elements.
inline constexpr std::int64_t segment_alignment = 128;

// What one segment of the flat parameter buffer is: one tensor, padded to segment_alignment.
struct ParameterSegment {
    std::int64_t offset = 0;    // elements
    std::int64_t elements = 0;  // without padding
    double lr_multiplier = 1;
    float decay_multiplier = 1;  // 0 for batch norm and biases
    bool frozen = false;
    bool half = false;           // a 16-bit copy is kept in half_parameters
    bool half_gradient = false;  // the gradient comes in half_gradients
};

// One running statistic pair in the flat statistics buffer: mean at `offset`, variance `channels`
// later.
struct StatisticsSegment {
    std::int64_t offset = 0;
    std::int64_t channels = 0;
    std::int64_t samples = 0;  // N*H*W of the batch: the variance is made unbiased by n/(n-1)
};

struct OpDesc {
    OpKind kind{};
    std::vector<TensorDesc> inputs;
    std::vector<TensorDesc> outputs;  // a layout `any` is chosen by the back end when the op is made

    // Convolution and pooling windows.
    int kernel = 1, stride = 1, padding = 0;
    // Batch norm. `relu`: y = max(0, .); `residual`: y = bn(x) + residual before the ReLU.
    double epsilon = 1e-5;
    bool relu = false, residual = false;
    // Backward kinds: the gradient is dy + dy2 (two readers of one activation).
    bool second_gradient = false;
    // conv2d_backward_data: dx += instead of dx =; dx is the last input, too.
    bool accumulate = false;
    // linear and linear_backward_weights: there is a bias.
    bool bias = true;
    // dropout: the share that is dropped, below 1.
    double dropout = 0;
    std::uint64_t seed = 0;  // of mix_batch, too
    std::uint32_t dropout_layer = 0;
    // augment_images: the images' size is x's; no view reads a longer side of an image than
    // largest_crop.
    SampleOrder order{};
    ViewRule view{};
    int largest_crop = 0;
    // mix_batch: alpha of each, 0: without it.
    double mixup = 0, cutmix = 0;
    // normalize_images, take_batch, augment_images: x = (u8/255 - mean) / stddev.
    std::array<float, 3> mean{}, stddev{1, 1, 1};
    // softmax_cross_entropy.
    float label_smoothing = 0;
    bool class_weights = false, gradient = false, label_pairs = false;
    // softmax_cross_entropy multiplies gradients by control.loss_scale, check_gradients takes it
    // out again, commit_step adapts it (fp16).
    bool loss_scale = false;
    // The update.
    OptimizerOptions optimizer;
    double momentum = 0.1;            // of running statistics: new = (1-m) old + m batch
    int accumulation = 1, micro = 0;  // micro step `micro` of `accumulation`
    int rank = 0, ranks = 1;          // this process, of so many: each runs micro batches of its own
    bool two_levels = false;          // ranks exchange in groups of eight, then between the groups
    std::vector<ParameterSegment> parameters;
    std::vector<StatisticsSegment> statistics;
};

// Pairs of operations that a back end may run as one.
enum class Fusion : std::uint8_t {
    batch_norm_relu,
    batch_norm_add_relu,
    batch_norm_pair,       // two batch norms that are added, and the ReLU
    batch_norm_max_pool,   // batch norm, ReLU and max pool
    sum_of_gradients,      // batch_norm_backward and max_pool_backward take dy + dy2
    accumulated_gradient,  // conv2d_backward_data adds to the gradient that is there
};

// An operation ready to run. Pointers come in the order of the contract in kinds.h. `run` puts the
// work on the stream and does not wait for it; the CPU's stream has done it when `run` returns.
class Op {
  public:
    virtual ~Op() = default;
    virtual void run(void* const* inputs, void* const* outputs, void* workspace, Stream& stream) = 0;
};

struct BuiltOp {
    std::unique_ptr<Op> op;
    OpDesc desc;                      // with every layout decided
    std::size_t workspace = 0;        // bytes, 64-byte aligned
    std::string implementation;       // for listings: "jit:avx512_core", "own"
    int reorders = 0;                 // copies between layouts inside this op (weights not counted)
    bool second_pass_cached = false;  // data that later passes re-read is still in L2
};

class Backend {
  public:
    virtual ~Backend() = default;

    virtual bool can_fuse(Fusion fusion) const = 0;

    // The layout in which parameters of this shape are kept in the flat buffers. Depends on the
    // machine only, never on a program, so that every program shares one state.
    virtual Layout parameter_layout(const TensorDesc& plain) const = 0;

    // Whether launched steps run while the host goes on: batches are then handed over ahead
    // (take_batch).
    virtual bool asynchronous() const = 0;

    // Whether batches can be made from images that stay on the device (augment_images).
    virtual bool resident_images() const { return false; }

    // Whether weight gradients gain from a branch of their own.
    virtual bool weight_gradient_branch() const = 0;

    // Checks types, shapes and layouts once; throws Error(device) if the kind is not there.
    virtual BuiltOp make(const OpDesc& desc) const = 0;

    // The best instruction set in use and the libraries with versions, for `doctor`.
    virtual std::string instruction_set() const = 0;
    virtual std::vector<std::pair<std::string, std::string>> libraries() const = 0;
};

class Communicator;

// The CPU back end on oneDNN. `threads` 0: all cores. `ranks`: what programs with several ranks use;
// null: such programs can be compiled, not run.
std::unique_ptr<Backend> make_cpu_backend(int threads, Communicator* ranks = nullptr);

class PlanBook;

// How a GPU computes.
struct CudaMath {
    int device = 0;                     // which GPU, by its index
    bool tf32 = false;                  // products of f32 may round their inputs to TF32
    bool deterministic = true;          // only convolutions that give equal bits in equal runs
    std::shared_ptr<PlanBook> plans{};  // of convolutions: preferred, and written down; null: neither
    Communicator* ranks = nullptr;      // as above
};

// The CUDA back end for one GPU. Throws Error(device), also in a build without CUDA.
std::unique_ptr<Backend> make_cuda_backend(const CudaMath& math);

// The same on the emulator, with loops on the host for the libraries.
std::unique_ptr<Backend> make_emulated_backend(Communicator* ranks = nullptr);

// A library that the CUDA back end opens at run time.
struct CudaLibrary {
    std::string name;     // "cuDNN"
    std::string version;  // "9.19.0"; empty when it cannot be opened
    std::string missing;  // then why not
    std::string package;  // what to install
    bool needed = true;   // without it there is no training on a GPU
};

// Opens them, and nothing on a GPU. Empty in a build without CUDA. Never throws.
std::vector<CudaLibrary> cuda_libraries();

}  // namespace onecycle
