#include "ops/ops.h"

namespace onecycle {

const char* name_of(OpKind kind) {
    switch (kind) {
        case OpKind::normalize_images:
            return "normalize_images";
        case OpKind::take_batch:
            return "take_batch";
        case OpKind::augment_images:
            return "augment_images";
        case OpKind::mix_batch:
            return "mix_batch";
        case OpKind::conv2d:
            return "conv2d";
        case OpKind::conv2d_backward_data:
            return "conv2d_backward_data";
        case OpKind::conv2d_backward_weights:
            return "conv2d_backward_weights";
        case OpKind::add_channel_bias:
            return "add_channel_bias";
        case OpKind::channel_bias_gradient:
            return "channel_bias_gradient";
        case OpKind::batch_norm:
            return "batch_norm";
        case OpKind::batch_norm_backward:
            return "batch_norm_backward";
        case OpKind::batch_norm_inference:
            return "batch_norm_inference";
        case OpKind::batch_norm_pair:
            return "batch_norm_pair";
        case OpKind::batch_norm_pair_backward:
            return "batch_norm_pair_backward";
        case OpKind::batch_norm_max_pool:
            return "batch_norm_max_pool";
        case OpKind::batch_norm_max_pool_backward:
            return "batch_norm_max_pool_backward";
        case OpKind::relu:
            return "relu";
        case OpKind::relu_backward:
            return "relu_backward";
        case OpKind::add:
            return "add";
        case OpKind::max_pool:
            return "max_pool";
        case OpKind::max_pool_backward:
            return "max_pool_backward";
        case OpKind::global_average_pool:
            return "global_average_pool";
        case OpKind::global_average_pool_backward:
            return "global_average_pool_backward";
        case OpKind::adaptive_average_pool:
            return "adaptive_average_pool";
        case OpKind::adaptive_average_pool_backward:
            return "adaptive_average_pool_backward";
        case OpKind::concat_pool:
            return "concat_pool";
        case OpKind::concat_pool_backward:
            return "concat_pool_backward";
        case OpKind::dropout:
            return "dropout";
        case OpKind::linear:
            return "linear";
        case OpKind::linear_backward_data:
            return "linear_backward_data";
        case OpKind::linear_backward_weights:
            return "linear_backward_weights";
        case OpKind::softmax_cross_entropy:
            return "softmax_cross_entropy";
        case OpKind::softmax:
            return "softmax";
        case OpKind::confusion:
            return "confusion";
        case OpKind::accumulate_gradients:
            return "accumulate_gradients";
        case OpKind::check_gradients:
            return "check_gradients";
        case OpKind::update_parameters:
            return "update_parameters";
        case OpKind::update_statistics:
            return "update_statistics";
        case OpKind::commit_step:
            return "commit_step";
        case OpKind::add_metrics:
            return "add_metrics";
    }
    return "?";
}

}  // namespace onecycle
