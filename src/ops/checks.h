// What the builders of every back end check of an operation's operands, once, when it is made.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <vector>

#include "device/communicator.h"
#include "ops/ops.h"
#include "rules/sum_order.h"

namespace onecycle {

// Throws Error(device) naming the operation unless `good`.
void require(bool good, const OpDesc& desc, const std::string& why);
void require_operands(const OpDesc& desc, std::size_t inputs, std::size_t outputs);
// Same element type, shape and layout; an output that says `any` takes the layout of `like`.
void require_like(const OpDesc& desc, const TensorDesc& operand, const TensorDesc& like,
                  const std::string& name);
void adopt_layout(OpDesc& desc, std::size_t output, Layout layout);
// A rank 1 or 2 tensor of floats in plain order.
void require_plain(const OpDesc& desc, const TensorDesc& operand, std::initializer_list<std::int64_t> shape,
                   const std::string& name);

// These operands are [channels] f32.
void require_channel_vectors(const OpDesc& desc, const std::vector<TensorDesc>& operands,
                             std::initializer_list<std::size_t> which, std::int64_t channels);

// The first three inputs of what judges a classifier: logits [N,C], labels i32 [N], count i32.
void require_labelled_logits(const OpDesc& desc);
// The operands of mix_batch but for the layout of x.
void require_mixing(const OpDesc& desc);
// Those of a loss of mixed samples, which begin at this input.
void require_label_pairs(const OpDesc& desc, std::size_t first);
void require_confusion(const OpDesc& desc);
// What a pooling window reads, what it gives and where it took that from. Any layout, the same for
// all.
void require_window(const OpDesc& desc, const TensorDesc& x, const TensorDesc& y, const TensorDesc& index);

// Bytes rounded up so that what follows stays 64-byte aligned.
constexpr std::size_t aligned(std::size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

// The operands of update_statistics.
void require_running_statistics(const OpDesc& desc);

// The operands of batch_norm_gradients and batch_norm_input_gradient, whose new outputs take the
// layout of x; each back end checks that one by itself.
void require_batch_norm_gradients(OpDesc& desc);
void require_batch_norm_input_gradient(OpDesc& desc);

// What accumulate_gradients and all_reduce make of a pass over micro batches, checked.
struct MicroPass {
    bool last = true;      // the mean is made
    bool summed = false;   // there are other passes: the sum is kept
    bool crosses = false;  // groups cross passes: a total is kept, too, and the control is the last input
    bool halves = false;   // there are 16-bit gradients
    SumPass sum;           // unless `crosses`: then `before` is known by the control alone
};

// The operands of accumulate_gradients but for the type of the 16-bit ones.
MicroPass require_accumulation(const OpDesc& desc);

// What an all_reduce does, checked: at each level an exchange, then this rank adds up what came.
struct Reduction : MicroPass {
    struct Level {
        Partition exchange;
        std::int64_t begin = 0, elements = 0;  // this rank's share
        SumPass sum;                           // at the last level that of the pass
    };
    std::vector<Level> levels;
    std::size_t workspace = 0;  // bytes: everyone's version of a share
};
Reduction require_reduction(const OpDesc& desc);
// The operands of gather_results. Returns how everyone gets everyone's.
std::vector<Partition> require_results(const OpDesc& desc);
// The operands of combine_statistics and average_gradients: two [C] f32 each way. Returns how everyone
// gets everyone's, of a workspace [ranks,2,C].
std::vector<Partition> require_pairs_of_ranks(const OpDesc& desc);

}  // namespace onecycle
