#include "nn/cost.h"

#include <algorithm>

#include "ops/exchanges.h"
#include "rules/optimizer_rules.h"
#include "rules/sum_order.h"

namespace onecycle {

double flops_of(const OpDesc& desc) {
    const auto elements = [](const TensorDesc& t) { return static_cast<double>(t.elements()); };
    const double window = static_cast<double>(desc.kernel) * desc.kernel;
    switch (desc.kind) {
        case OpKind::conv2d:
            return 2 * elements(desc.outputs[0]) * static_cast<double>(desc.inputs[0][1]) * window;
        case OpKind::conv2d_backward_data:
            return 2 * elements(desc.inputs[0]) * static_cast<double>(desc.outputs[0][1]) * window;
        case OpKind::conv2d_backward_weights:
            return 2 * elements(desc.inputs[0]) * static_cast<double>(desc.inputs[1][1]) * window;
        case OpKind::linear:
            return 2 * elements(desc.outputs[0]) * static_cast<double>(desc.inputs[0][1]);
        case OpKind::linear_backward_data:
            return 2 * elements(desc.inputs[0]) * static_cast<double>(desc.outputs[0][1]);
        case OpKind::linear_backward_weights:
            return 2 * elements(desc.inputs[0]) * static_cast<double>(desc.inputs[1][1]);
        case OpKind::batch_norm_statistics:
            return 4 * elements(desc.inputs[0]);
        case OpKind::batch_norm_gradients:
        case OpKind::batch_norm_input_gradient:
            return 6 * elements(desc.inputs[0]);
        case OpKind::batch_norm:
            return 8 * elements(desc.inputs[0]);
        case OpKind::batch_norm_backward:
            return 12 * elements(desc.inputs[0]);
        case OpKind::augment_images:
            return 2 * elements(desc.outputs[0]);
        case OpKind::max_pool:
            return window * elements(desc.outputs[0]);
        case OpKind::add_channel_bias:
        case OpKind::channel_bias_gradient:
            return elements(desc.inputs[0]);
        default:
            break;
    }
    double largest = 0;
    for (const auto* list : {&desc.inputs, &desc.outputs})
        for (const TensorDesc& t : *list) largest = std::max(largest, elements(t));
    return 2 * largest;
}

namespace {

// Of the pixels of x, a window that is narrower than its step leaves some unread.
double unread(const OpDesc& desc, const TensorDesc& x) {
    if (desc.kernel >= desc.stride) return 0;
    const double used = static_cast<double>(desc.kernel) / desc.stride;
    return (1 - used * used) * static_cast<double>(x.bytes());
}

struct FlatWork {
    double gradients = 0, trained = 0, copied = 0;  // bytes, elements, elements with a 16-bit copy
};

FlatWork flat_work(const OpDesc& desc, bool half_gradients) {
    FlatWork work;
    for (const ParameterSegment& s : desc.parameters) {
        if (s.frozen) continue;
        const auto n = static_cast<double>(s.elements);
        work.gradients += n * (half_gradients && s.half_gradient ? 2 : 4);
        work.trained += n;
        if (s.half) work.copied += n;
    }
    return work;
}

// Sums over micro batches that are kept between passes, each read but in the first one, and written.
int accesses_of_sums(const OpDesc& desc) {
    const int kept = groups_cross_passes(desc.accumulation, desc.ranks) ? 2 : desc.accumulation > 1 ? 1 : 0;
    return kept * (desc.micro > 0 ? 2 : 1);
}

// Of the GPU's memory. In each exchange a rank sends and receives all but its own share. As they
// spread the bucket it copies its own share, reads all parts of it and writes their sum; of the last
// one the mean, if that is due: it goes to all.
double reduction_bytes(const OpDesc& desc) {
    double bytes = 0, share = 0;
    for (const ParameterSegment& s : desc.parameters)
        if (s.half_gradient) bytes += (2 + 4) * static_cast<double>(s.elements);
    for (const Partition& exchange : exchanges_of(desc))
        bytes += 2 * (exchange.members.count - 1) * mean_share(exchange);
    for (const Partition& exchange : reducing_exchanges(desc, desc.inputs[0].elements())) {
        share = mean_share(exchange);
        bytes += (2 + exchange.members.count + 1) * share;
    }
    if (desc.micro < desc.accumulation - 1) bytes -= share;
    return bytes + accesses_of_sums(desc) * share;
}

}  // namespace

double bytes_of(const OpDesc& desc, bool second_pass_cached) {
    const auto in = [&](std::size_t i) { return static_cast<double>(desc.inputs[i].bytes()); };
    const auto out = [&](std::size_t i) { return static_cast<double>(desc.outputs[i].bytes()); };
    double once = 0, again = 0;
    for (std::size_t i = 0; i < desc.inputs.size(); ++i) once += in(i);
    for (std::size_t i = 0; i < desc.outputs.size(); ++i) once += out(i);
    const auto dy2 = [&](std::size_t i) { return desc.second_gradient ? in(i) : 0; };
    switch (desc.kind) {
        case OpKind::take_batch:  // of one slot
            return once - in(0) + in(0) / static_cast<double>(desc.inputs[0][0]);
        case OpKind::augment_images: {  // of the batch's images, the parts that views show
            const double images =
                static_cast<double>(desc.order.batch) / static_cast<double>(desc.order.samples);
            const double shown = desc.view.crop ? (1 + desc.view.min_area) / 2 : 1;
            const TensorDesc& x = desc.outputs[0];
            const double views =
                3 * static_cast<double>(x[0] * x[2] * x[3]);  // bytes; strong ones: see the kernels
            return once - in(0) - in(1) + images * (in(0) + shown * in(1)) +
                   (desc.view.strong ? 3 * views : 0);
        }
        case OpKind::mix_batch: {  // pairs with two boxes: what neither has is left alone, 47 % at alpha 1
            const double two_boxes = desc.cutmix == 0 ? 0 : desc.mixup > 0 ? 0.25 : 1;
            return once - 0.47 * two_boxes * (in(0) + out(0));
        }
        case OpKind::conv2d:
            return once - unread(desc, desc.inputs[0]);
        case OpKind::conv2d_backward_weights:
            return once - unread(desc, desc.inputs[1]);
        case OpKind::batch_norm:
        case OpKind::batch_norm_max_pool:
            again = in(0);
            break;
        case OpKind::batch_norm_pair:
            again = in(0) + in(3);
            break;
        case OpKind::
            batch_norm_backward:  // with a residual, the second pass reads its gradient instead of dy and y
            again = desc.residual ? out(3) + in(1) : in(0) + in(1) + dy2(6);
            break;
        case OpKind::batch_norm_pair_backward:
            again = in(0) + in(1) + in(5) + in(9) + dy2(10);
            break;
        case OpKind::batch_norm_max_pool_backward:
            again = in(0) + in(1) + in(2) + dy2(7);
            break;
        case OpKind::accumulate_gradients: {
            const bool crosses = groups_cross_passes(desc.accumulation, desc.ranks);
            FlatWork work = flat_work(desc, desc.inputs.size() == (crosses ? 3 : 2));
            if (desc.parameters.empty())
                work = {.gradients = in(0), .trained = static_cast<double>(desc.inputs[0].elements())};
            const int accesses = accesses_of_sums(desc) + (desc.micro == desc.accumulation - 1 ? 1 : 0);
            return work.gradients + accesses * 4 * work.trained;
        }
        case OpKind::check_gradients:
            return flat_work(desc, desc.inputs.size() == 4).gradients;
        case OpKind::trust_ratio: {  // of what has a ratio: the gradients, the weights, LAMB's moments
            OpDesc adapted = desc;
            std::erase_if(adapted.parameters,
                          [](const ParameterSegment& s) { return !is_adapted(s.decay_multiplier); });
            const bool lamb = has_second_moment(desc.optimizer.kind);
            const FlatWork work = flat_work(adapted, desc.inputs.size() == (lamb ? 7 : 5));
            return work.gradients + (lamb ? 12 : 4) * work.trained;
        }
        case OpKind::update_parameters: {
            const std::size_t ratios = has_trust_ratio(desc.optimizer.kind) ? 1 : 0;
            const FlatWork work = flat_work(desc, desc.inputs.size() == 4 + ratios);
            const double moments = has_second_moment(desc.optimizer.kind) ? 2 : 1;
            const double emas = desc.optimizer.ema_decay > 0 ? 1 : 0;
            return work.gradients + 8 * (1 + moments + emas) * work.trained + 2 * (1 + emas) * work.copied;
        }
        case OpKind::update_statistics:
            return once + out(0) + (desc.outputs.size() == 2 ? out(1) : 0);
        case OpKind::all_reduce:
            return reduction_bytes(desc);
        case OpKind::gather_results:  // the own result is noted; the others come, and it is sent
            return in(0) + in(1) + 2 * out(0);
        default:
            break;
    }
    return once + (second_pass_cached ? 0 : again);
}

}  // namespace onecycle
