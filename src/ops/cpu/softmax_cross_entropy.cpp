// The loss, as torch.nn.functional.cross_entropy(reduction="mean") defines it with label smoothing
// s and class weights v (1 without). For row i with label t and p = softmax(logits):
//   loss = sum_i [ (1-s) v[t] (-log p[t]) + s/C sum_c v[c] (-log p[c]) ] / sum_i v[t]
//   dlogits[c] = ( (1-s) v[t] (p[c] - [c = t]) + s/C (p[c] sum(v) - v[c]) ) / sum_i v[t]
// A row with two labels and a weight w of the first has w times the first's loss, gradient and
// v[t], plus 1 - w times the second's. Rows from `count` on are no samples; their gradient is 0.
// Everything inside is double.
#include <cmath>

#include "ops/cpu/builders.h"
#include "ops/cpu/parallel.h"
#include "rules/control.h"

namespace onecycle::cpu {

namespace {

struct RowResult {
    double loss, weight;
    std::int64_t rank;  // classes that beat the label; of equal ones the first wins
};

struct LogSumExp {
    double maximum, sum;  // log(sum(exp(x))) = maximum + log(sum)
};

LogSumExp log_sum_exp(const float* x, std::int64_t classes) {
    double maximum = x[0];
    for (std::int64_t c = 1; c < classes; ++c) maximum = std::max(maximum, static_cast<double>(x[c]));
    double sum = 0;
    for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(static_cast<double>(x[c]) - maximum);
    return {maximum, sum};
}

std::int64_t rank_of(const float* x, std::int64_t classes, std::int64_t label) {
    if (std::isnan(x[label])) return classes;
    std::int64_t rank = 0;
    for (std::int64_t c = 0; c < classes; ++c) rank += x[c] > x[label] || (x[c] == x[label] && c < label);
    return rank;
}

}  // namespace

BuiltOp make_softmax_cross_entropy(const OpDesc& desc, const Context& context) {
    const std::size_t pairs_at = desc.class_weights ? 4 : 3;
    require_operands(desc, pairs_at + (desc.label_pairs ? 2 : 0), desc.gradient ? 2 : 1);
    const std::int64_t images = desc.inputs[0][0], classes = desc.inputs[0][1];
    require_labelled_logits(desc);
    if (desc.class_weights) require_plain(desc, desc.inputs[3], {classes}, "class weights");
    if (desc.label_pairs) require_label_pairs(desc, pairs_at);
    OpDesc decided = desc;
    if (desc.gradient) {
        adopt_layout(decided, 1, Layout::plain);
        require_plain(decided, decided.outputs[1], {images, classes}, "dlogits");
    }
    const bool weighted = desc.class_weights, with_gradient = desc.gradient, paired = desc.label_pairs;
    const double smoothing = static_cast<double>(desc.label_smoothing);
    const std::size_t workspace = static_cast<std::size_t>(images) * sizeof(RowResult);
    return op_from(
        decided, workspace, [=, threads = context.threads](void* const* in, void* const* out, void* work) {
            const float *logits = floats(in[0]), *weights = weighted ? floats(in[3]) : nullptr;
            const auto* labels = static_cast<const std::int32_t*>(in[1]);
            const auto* labels2 = paired ? static_cast<const std::int32_t*>(in[pairs_at]) : labels;
            const float* share = paired ? floats(in[pairs_at + 1]) : nullptr;
            const std::int64_t count =
                std::min<std::int64_t>(images, *static_cast<const std::int32_t*>(in[2]));
            auto* const rows = static_cast<RowResult*>(work);
            const auto weight_of = [&](std::int64_t c) {
                return weights ? static_cast<double>(weights[c]) : 1.0;
            };
            // What f gives for the two labels of row i, by their shares.
            const auto both = [&](std::int64_t i, const auto& f) {
                const double first = share ? static_cast<double>(share[i]) : 1;
                if (first == 1) return f(labels[i]);
                return first * f(labels[i]) + (1 - first) * f(labels2[i]);
            };
            double all_weights = 0, total = 0;
            for (std::int64_t c = 0; c < classes; ++c) all_weights += weight_of(c);
            for (std::int64_t i = 0; i < count; ++i) total += both(i, weight_of);

            parallel_for(threads_for(threads, 32 * images * classes), images, [&](std::int64_t i) {
                float* const gradient = with_gradient ? floats_out(out[1]) + i * classes : nullptr;
                if (i >= count) {
                    if (gradient) std::fill(gradient, gradient + classes, 0.0f);
                    return;
                }
                const float* x = logits + i * classes;
                const std::int64_t judged = share && share[i] < 0.5f ? labels2[i] : labels[i];
                const double weight = both(i, weight_of);
                const LogSumExp log_sum = log_sum_exp(x, classes);
                const double log_of_sum = log_sum.maximum + std::log(log_sum.sum);
                double loss = (1 - smoothing) * both(i, [&](std::int64_t label) {
                                  return weight_of(label) * (log_of_sum - static_cast<double>(x[label]));
                              });
                if (smoothing > 0) {
                    double spread = 0;
                    for (std::int64_t c = 0; c < classes; ++c)
                        spread += weight_of(c) * (log_of_sum - static_cast<double>(x[c]));
                    loss += smoothing / static_cast<double>(classes) * spread;
                }
                rows[i] = {loss, weight, rank_of(x, classes, judged)};
                if (!gradient) return;
                for (std::int64_t c = 0; c < classes; ++c) {
                    const double p = std::exp(static_cast<double>(x[c]) - log_sum.maximum) / log_sum.sum;
                    const double wanted =
                        both(i, [&](std::int64_t label) { return c == label ? weight_of(c) : 0.0; });
                    const double hard = weight * p - wanted;
                    const double soft = (p * all_weights - weight_of(c)) / static_cast<double>(classes);
                    gradient[c] = static_cast<float>(((1 - smoothing) * hard + smoothing * soft) / total);
                }
            });

            BatchResult result{};
            for (std::int64_t i = 0; i < count; ++i) {
                result.loss_sum += rows[i].loss;
                result.weight += rows[i].weight;
                result.correct += rows[i].rank == 0;
                result.correct5 += rows[i].rank < 5;
            }
            result.count = count;
            result.loss = result.loss_sum / result.weight;
            *static_cast<BatchResult*>(out[0]) = result;
        });
}

BuiltOp make_softmax(const OpDesc& desc, const Context& context) {
    require_operands(desc, 1, 1);
    const std::int64_t images = desc.inputs[0][0], classes = desc.inputs[0][1];
    require_plain(desc, desc.inputs[0], {images, classes}, "logits");
    OpDesc decided = desc;
    adopt_layout(decided, 0, Layout::plain);
    require_plain(decided, decided.outputs[0], {images, classes}, "probabilities");
    return op_from(decided, 0, [=, threads = context.threads](void* const* in, void* const* out, void*) {
        parallel_for(threads_for(threads, 32 * images * classes), images, [&](std::int64_t i) {
            const float* x = floats(in[0]) + i * classes;
            float* y = floats_out(out[0]) + i * classes;
            const LogSumExp log_sum = log_sum_exp(x, classes);
            for (std::int64_t c = 0; c < classes; ++c)
                y[c] =
                    static_cast<float>(std::exp(static_cast<double>(x[c]) - log_sum.maximum) / log_sum.sum);
        });
    });
}

}  // namespace onecycle::cpu
