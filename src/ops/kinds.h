// The list of operations: each kind once, with its contract. The enum, names, builders of both back
// ends and what the emulator's checker must know come from here. A new kind is a line here and a
// builder, make_<kind>, in ops/cpu and ops/cuda.
#pragma once

#include <cstdint>

namespace onecycle {

// BOTH: of both back ends; CUDA: of CUDA's only, where Backend::can_fuse, asynchronous or
// resident_images say so. in_place: it reads what it writes, or writes parts of it; replaces: it
// writes its outputs whole, unless an output is an input, too.
//
// The contract above each kind is inputs -> outputs, in this order. Activations are [N,C,H,W],
// weights [O,I,H,W], both of the type the program computes in; vectors of batch norm are [C] f32,
// logits and biases f32. [name] marks an operand that is there only when the flag says so. What a
// line cannot say stands in ops.h.
// clang-format off
#define ONECYCLE_OP_KINDS(BOTH, CUDA) \
    /* images u8 [N,H,W,3] -> x [N,3,H,W]                                                          \
       With mean and stddev. */                                                                    \
    BOTH(normalize_images, replaces)                                                               \
    /* slots u8 [S,B], control -> x [N,3,H,W], labels i32 [N], count i32 [1]                       \
       normalize_images of the batch that is due, see ops.h. */                                    \
    CUDA(take_batch, replaces)                                                                     \
    /* table u8, pixels u8, control -> x [N,3,S,S], labels i32 [N], count i32 [1]                  \
       The training views of the batch that is due, see ops.h. */                                  \
    CUDA(augment_images, replaces)                                                                 \
    /* x, labels i32 [N], count i32 [1], control                                                   \
       -> x (in place), labels2 i32 [N], label_weight f32 [N]                                      \
       Mixup and cutmix, see mix_rules.h. */                                                       \
    BOTH(mix_batch, replaces)                                                                      \
    /* x, w -> y */                                                                                \
    BOTH(conv2d, replaces)                                                                         \
    /* dy, w, [dx] -> dx                                                                           \
       accumulate: added to what is there. */                                                      \
    BOTH(conv2d_backward_data, replaces)                                                           \
    /* dy, x -> dw */                                                                              \
    BOTH(conv2d_backward_weights, replaces)                                                        \
    /* x, b -> y (may be x) */                                                                     \
    BOTH(add_channel_bias, replaces)                                                               \
    /* dy -> db */                                                                                 \
    BOTH(channel_bias_gradient, replaces)                                                          \
    /* x, gamma, beta, [residual] -> y, mean, variance                                             \
       Mean and biased variance of the batch. */                                                   \
    BOTH(batch_norm, replaces)                                                                     \
    /* dy, x, mean, variance, gamma, beta, [dy2], [y] -> dx, dgamma, dbeta, [dresidual] */         \
    BOTH(batch_norm_backward, replaces)                                                            \
    /* x, gamma, beta, running_mean, running_variance, [residual] -> y */                          \
    BOTH(batch_norm_inference, replaces)                                                           \
    /* Batch norm over all ranks, in parts: batch_norm_inference has the second one. */            \
    /* x -> mean, variance                                                                         \
       Of this rank's batch, as batch_norm's. */                                                   \
    BOTH(batch_norm_statistics, replaces)                                                          \
    /* mean, variance -> mean, variance                                                            \
       Of the batches of all ranks. */                                                             \
    BOTH(combine_statistics, replaces)                                                             \
    /* dy, x, mean, variance, gamma, beta, [dy2], [y] -> dgamma, dbeta, [dresidual] */             \
    BOTH(batch_norm_gradients, replaces)                                                           \
    /* dgamma, dbeta -> dgamma, dbeta                                                              \
       The means over the ranks. */                                                                \
    BOTH(average_gradients, replaces)                                                              \
    /* dy, x, mean, variance, gamma, beta, dgamma, dbeta, [dy2] -> dx */                           \
    BOTH(batch_norm_input_gradient, replaces)                                                      \
    /* x, gamma, beta, x2, gamma2, beta2 -> y, mean, variance, mean2, variance2                    \
       y = max(0, bn(x) + bn(x2)). */                                                              \
    CUDA(batch_norm_pair, replaces)                                                                \
    /* dy, x, mean, variance, gamma, x2, mean2, variance2, gamma2, y, [dy2]                        \
       -> dx, dgamma, dbeta, dx2, dgamma2, dbeta2 */                                               \
    CUDA(batch_norm_pair_backward, replaces)                                                       \
    /* x, gamma, beta -> y, index u8, mean, variance                                               \
       y = max_pool(max(0, bn(x))). */                                                             \
    CUDA(batch_norm_max_pool, replaces)                                                            \
    /* dy, index, x, mean, variance, gamma, beta, [dy2] -> dx, dgamma, dbeta */                    \
    CUDA(batch_norm_max_pool_backward, replaces)                                                   \
    /* x -> y */                                                                                   \
    BOTH(relu, replaces)                                                                           \
    /* dy, y -> dx */                                                                              \
    BOTH(relu_backward, replaces)                                                                  \
    /* a, b -> y */                                                                                \
    BOTH(add, replaces)                                                                            \
    /* x -> y, index u8                                                                            \
       The index is the place in the window. */                                                    \
    BOTH(max_pool, replaces)                                                                       \
    /* dy, index, [dy2] -> dx */                                                                   \
    BOTH(max_pool_backward, replaces)                                                              \
    /* x -> y [N,C] */                                                                             \
    BOTH(global_average_pool, replaces)                                                            \
    /* dy [N,C] -> dx */                                                                           \
    BOTH(global_average_pool_backward, replaces)                                                   \
    /* x -> y [N,C*kernel*kernel]                                                                  \
       Means over kernel x kernel windows, see adaptive_rules.h. */                                \
    BOTH(adaptive_average_pool, replaces)                                                          \
    /* dy -> dx */                                                                                 \
    BOTH(adaptive_average_pool_backward, replaces)                                                 \
    /* x -> y [N,2C], index i32 [N,C]                                                              \
       Each channel's maximum, then each mean; the first pixel that has the maximum. */            \
    BOTH(concat_pool, replaces)                                                                    \
    /* dy [N,2C], index -> dx */                                                                   \
    BOTH(concat_pool_backward, replaces)                                                           \
    /* x, control -> y                                                                             \
       dx from dy likewise. */                                                                     \
    BOTH(dropout, replaces)                                                                        \
    /* x [N,K], w [O,K], [b [O]] -> y [N,O] */                                                     \
    BOTH(linear, replaces)                                                                         \
    /* dy, w -> dx */                                                                              \
    BOTH(linear_backward_data, replaces)                                                           \
    /* dy, x -> dw, [db] */                                                                        \
    BOTH(linear_backward_weights, replaces)                                                        \
    /* logits [N,C], labels i32 [N], count i32 [1], [class_weights [C]], [control],                \
       [labels2 i32 [N], label_weight f32 [N]] -> result, [dlogits]                                \
       Gradients are times the loss scale. */                                                      \
    BOTH(softmax_cross_entropy, replaces)                                                          \
    /* logits -> probabilities */                                                                  \
    BOTH(softmax, replaces)                                                                        \
    /* logits, labels i32 [N], count i32 [1] -> counts i32 [C,C]                                   \
       [label, answer]; of equal logits the first is the answer. */                                \
    BOTH(confusion, in_place)                                                                      \
    /* The update, on flat buffers (state.h). */                                                   \
    /* gradients, [half_gradients], [control]                                                      \
       -> gradient_sum, [gradient_total] (in place), [gradients] */                                \
    BOTH(accumulate_gradients, in_place)                                                           \
    /* gradients [n], [half_gradients [n]], [control]                                              \
       -> gradients, [gradient_sum [n]], [gradient_total [n]] (in place)                           \
       With several ranks, for one bucket of the flat buffers. */                                  \
    BOTH(all_reduce, in_place)                                                                     \
    /* result, progress -> results [ranks]                                                         \
       Every rank's, with the stop that its host wants. */                                         \
    BOTH(gather_results, replaces)                                                                 \
    /* gradients, [half_gradients], results, control -> check */                                   \
    BOTH(check_gradients, replaces)                                                                \
    /* gradients, [half_gradients], check, control, parameters, [moment1, moment2]                 \
       -> ratios f32 [P], of the P parameters those that are trained                               \
       Of LARS, and with moments of LAMB: what each tensor's rate is multiplied by. */             \
    BOTH(trust_ratio, in_place)                                                                    \
    /* gradients, [half_gradients], check, control, [ratios]                                       \
       -> parameters, moment1, [moment2] (in place), [half_parameters],                            \
          [average (in place), [half_ema]] */                                                  \
    BOTH(update_parameters, in_place)                                                              \
    /* check, (mean, variance) of every batch norm -> statistics, [ema] (both in place) */         \
    BOTH(update_statistics, in_place)                                                              \
    /* results, check -> control (in place), progress */                                           \
    BOTH(commit_step, in_place)                                                                    \
    /* results -> control (in place) */                                                            \
    BOTH(add_metrics, in_place)
// clang-format on

enum class OpKind : std::uint8_t {
#define ONECYCLE_KIND(kind, writes) kind,
    ONECYCLE_OP_KINDS(ONECYCLE_KIND, ONECYCLE_KIND)
#undef ONECYCLE_KIND
};

const char* name_of(OpKind kind);
bool works_in_place(OpKind kind);

}  // namespace onecycle
