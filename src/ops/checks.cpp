#include "ops/checks.h"

#include <fmt/format.h>

#include "onecycle/error.h"

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

int require_running_statistics(const OpDesc& desc) {
    const std::size_t norms = desc.statistics.size();
    const bool apart = desc.inputs.size() == 2 + 2 * norms;
    require_operands(desc, 1 + 2 * norms + (apart ? 1 : 0), 1);
    for (std::size_t k = 0; k < norms; ++k) {
        const StatisticsSegment& s = desc.statistics[k];
        for (std::size_t i : {1 + 2 * k, 2 + 2 * k})
            require_plain(desc, desc.inputs[i], {s.channels}, "a batch statistic");
        require(s.offset >= 0 && s.offset + 2 * s.channels <= desc.outputs[0].elements(), desc,
                "a statistic lies outside its buffer");
        require(s.samples > 0, desc, "the number of samples is not set");
    }
    if (!apart) return -1;
    require_like(desc, desc.inputs.back(), desc.outputs[0], "before");
    return static_cast<int>(1 + 2 * norms);
}

}  // namespace onecycle
