#include "ops/checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "onecycle/error.h"
#include "ops/exchanges.h"
#include "rules/control.h"

namespace onecycle {

void require(bool good, const OpDesc& desc, const std::string& why) {
    if (!good)
        throw Error(ErrorKind::device, std::string("cannot make ") + name_of(desc.kind), "operands", why);
}

void require_operands(const OpDesc& desc, std::size_t inputs, std::size_t outputs) {
    require(desc.inputs.size() == inputs && desc.outputs.size() == outputs, desc,
            fmt::format("it takes {} inputs and {} outputs, not {} and {}", inputs, outputs,
                        desc.inputs.size(), desc.outputs.size()));
}

void require_like(const OpDesc& desc, const TensorDesc& operand, const TensorDesc& like,
                  const std::string& name) {
    require(operand.type == like.type && operand.same_shape(like) && operand.layout == like.layout, desc,
            fmt::format("{} is {}, not {}", name, to_string(operand), to_string(like)));
}

void adopt_layout(OpDesc& desc, std::size_t output, Layout layout) {
    if (desc.outputs[output].layout == Layout::any) desc.outputs[output].layout = layout;
}

void require_plain(const OpDesc& desc, const TensorDesc& operand, std::initializer_list<std::int64_t> shape,
                   const std::string& name) {
    require_like(desc, operand, TensorDesc(shape), name);
}

void require_channel_vectors(const OpDesc& desc, const std::vector<TensorDesc>& operands,
                             std::initializer_list<std::size_t> which, std::int64_t channels) {
    for (std::size_t i : which) require_plain(desc, operands[i], {channels}, "a per-channel vector");
}

void require_labelled_logits(const OpDesc& desc) {
    const std::int64_t n = desc.inputs[0][0], classes = desc.inputs[0][1];
    require_plain(desc, desc.inputs[0], {n, classes}, "logits");
    require(desc.inputs[1].type == DType::i32 && desc.inputs[1].elements() == n, desc,
            "labels are not i32 [N]");
    require(desc.inputs[2].type == DType::i32, desc, "count is not i32");
}

void require_mixing(const OpDesc& desc) {
    require_operands(desc, 4, 3);
    const TensorDesc& x = desc.inputs[0];
    const TensorDesc labels({x[0]}, Layout::plain, DType::i32), weight{x[0]};
    require(x.rank == 4 && x[1] == 3 && x.stored_elements() / x[0] < std::int64_t{1} << 31, desc,
            "x is not [N,3,H,W], or its images have 2^31 elements or more");
    require_like(desc, desc.outputs[0], x, "the output x");
    require_like(desc, desc.inputs[1], labels, "labels");
    require(desc.inputs[2].type == DType::i32, desc, "count is not i32");
    require_like(desc, desc.outputs[1], labels, "labels2");
    require_like(desc, desc.outputs[2], weight, "label_weight");
    require(desc.mixup >= 0 && desc.cutmix >= 0 && desc.mixup + desc.cutmix > 0, desc,
            "there is nothing that mixes");
}

void require_label_pairs(const OpDesc& desc, std::size_t first) {
    const std::int64_t n = desc.inputs[0][0];
    require_like(desc, desc.inputs[first], TensorDesc({n}, Layout::plain, DType::i32), "labels2");
    require_plain(desc, desc.inputs[first + 1], {n}, "label_weight");
}

void require_confusion(const OpDesc& desc) {
    require_operands(desc, 3, 1);
    require_labelled_logits(desc);
    const std::int64_t classes = desc.inputs[0][1];
    require_like(desc, desc.outputs[0], TensorDesc({classes, classes}, Layout::plain, DType::i32), "counts");
}

void require_window(const OpDesc& desc, const TensorDesc& x, const TensorDesc& y, const TensorDesc& index) {
    require(y.type == x.type && y.layout == x.layout && y.rank == 4, desc, "activations differ in layout");
    require(index.type == DType::u8 && index.same_shape(y) && index.layout == y.layout, desc,
            "the index is not u8 of the shape and layout of y");
    require(x[0] == y[0] && x[1] == y[1], desc, "images or channels differ");
    require(desc.kernel * desc.kernel <= 256 && 2 * desc.padding <= desc.kernel, desc,
            "the window is too large, or its padding more than half of it");
    for (int d : {2, 3})
        require(y[d] > 0 && y[d] == (x[d] + 2 * desc.padding - desc.kernel) / desc.stride + 1, desc,
                "x " + to_string(x) + " does not give y " + to_string(y));
}

void require_running_statistics(const OpDesc& desc) {
    const std::size_t norms = desc.statistics.size();
    const bool with_ema = desc.outputs.size() == 2;
    require_operands(desc, 1 + 2 * norms, with_ema ? 2 : 1);
    if (with_ema) require_like(desc, desc.outputs[1], desc.outputs[0], "the average");
    for (std::size_t k = 0; k < norms; ++k) {
        const StatisticsSegment& s = desc.statistics[k];
        for (std::size_t i : {1 + 2 * k, 2 + 2 * k})
            require_plain(desc, desc.inputs[i], {s.channels}, "a batch statistic");
        require(s.offset >= 0 && s.offset + 2 * s.channels <= desc.outputs[0].elements(), desc,
                "a statistic lies outside its buffer");
        require(s.samples > 0, desc, "the number of samples is not set");
    }
}

void require_batch_norm_gradients(OpDesc& desc) {
    const bool second = desc.second_gradient, residual = desc.residual;
    require_operands(desc, 6 + (second ? 1u : 0u) + (residual ? 1u : 0u), residual ? 3 : 2);
    const TensorDesc& x = desc.inputs[1];
    if (residual) adopt_layout(desc, 2, x.layout);
    require_like(desc, desc.inputs[0], x, "dy");
    for (std::size_t i = 6; i < desc.inputs.size(); ++i) require_like(desc, desc.inputs[i], x, "dy2 or y");
    if (residual) require_like(desc, desc.outputs[2], x, "dresidual");
    require_channel_vectors(desc, desc.inputs, {2, 3, 4, 5}, x[1]);
    require_channel_vectors(desc, desc.outputs, {0, 1}, x[1]);
}

void require_batch_norm_input_gradient(OpDesc& desc) {
    require_operands(desc, desc.second_gradient ? 9 : 8, 1);
    require(!desc.residual, desc, "the residual's gradient is dy");
    const TensorDesc& x = desc.inputs[1];
    adopt_layout(desc, 0, x.layout);
    require_like(desc, desc.inputs[0], x, "dy");
    require_like(desc, desc.outputs[0], x, "dx");
    if (desc.second_gradient) require_like(desc, desc.inputs[8], x, "dy2");
    require_channel_vectors(desc, desc.inputs, {2, 3, 4, 5, 6, 7}, x[1]);
}

namespace {

MicroPass require_micro_pass(const OpDesc& desc) {
    require(desc.accumulation >= 1 && desc.micro >= 0 && desc.micro < desc.accumulation, desc,
            "the micro batch is out of range");
    MicroPass pass{.last = desc.micro == desc.accumulation - 1,
                   .summed = desc.accumulation > 1,
                   .crosses = groups_cross_passes(desc.accumulation, desc.ranks)};
    pass.sum = {.parts = desc.ranks,
                .before = desc.micro * desc.ranks,
                .count = static_cast<float>(desc.accumulation * desc.ranks)};
    const std::size_t inputs = desc.inputs.size() - (pass.crosses ? 1 : 0);
    require(inputs == 1 || inputs == 2, desc, "its operands are not what it takes");
    pass.halves = inputs == 2;
    if (pass.crosses)
        require(desc.inputs.back().bytes() == sizeof(StepControl), desc, "its last input is not the control");
    const std::int64_t n = desc.inputs[0].elements();
    require_plain(desc, desc.inputs[0], {n}, "a flat buffer");
    for (const TensorDesc& t : desc.outputs) require_plain(desc, t, {n}, "a flat buffer");
    return pass;
}

}  // namespace

MicroPass require_accumulation(const OpDesc& desc) {
    const MicroPass pass = require_micro_pass(desc);
    require(pass.summed && desc.ranks == 1, desc, "it adds up the micro batches of one rank");
    require_operands(desc, desc.inputs.size(), (pass.crosses ? 2 : 1) + (pass.last ? 1 : 0));
    return pass;
}

Reduction require_reduction(const OpDesc& desc) {
    require(desc.ranks > 1 && desc.rank >= 0 && desc.rank < desc.ranks, desc, "the rank is out of range");
    require(!desc.two_levels || are_whole_groups(desc.ranks), desc, "the ranks are no whole groups");
    Reduction reduction{require_micro_pass(desc)};
    require_operands(desc, desc.inputs.size(), reduction.crosses ? 3 : reduction.summed ? 2 : 1);
    const std::int64_t n = desc.inputs[0].elements();
    require(n % segment_alignment == 0, desc, "the bucket is not made of whole segments");
    for (Partition& exchange : reducing_exchanges(desc, n)) {
        const Share own = exchange.share_of(desc.rank);
        reduction.workspace = std::max(reduction.workspace, own.bytes * exchange.shares.size());
        reduction.levels.push_back({.exchange = std::move(exchange),
                                    .begin = static_cast<std::int64_t>(own.offset / sizeof(float)),
                                    .elements = static_cast<std::int64_t>(own.bytes / sizeof(float))});
    }
    if (desc.two_levels) {  // each part of the second is a group
        const int groups = desc.ranks / summed_group;
        reduction.levels.front().sum.parts = summed_group;
        reduction.sum.parts = groups;
        reduction.sum.group = 1;
        reduction.sum.before = desc.micro * groups;
    }
    reduction.levels.back().sum = reduction.sum;
    return reduction;
}

std::vector<Partition> require_results(const OpDesc& desc) {
    require_operands(desc, 2, 1);
    require(desc.inputs[0].bytes() == sizeof(BatchResult) && desc.inputs[1].bytes() == sizeof(StepProgress) &&
                desc.outputs[0].bytes() == sizeof(BatchResult) * static_cast<std::size_t>(desc.ranks) &&
                desc.rank >= 0 && desc.rank < desc.ranks,
            desc, "it takes a result and the progress, and gives a result for each rank");
    return gathering_exchanges(desc, sizeof(BatchResult));
}

std::vector<Partition> require_pairs_of_ranks(const OpDesc& desc) {
    require_operands(desc, 2, 2);
    require(desc.ranks > 1 && desc.rank >= 0 && desc.rank < desc.ranks, desc, "the rank is out of range");
    const std::int64_t channels = desc.inputs[0].elements();
    require_channel_vectors(desc, desc.inputs, {0, 1}, channels);
    require_channel_vectors(desc, desc.outputs, {0, 1}, channels);
    return gathering_exchanges(desc, 2 * static_cast<std::size_t>(channels) * sizeof(float));
}

}  // namespace onecycle
