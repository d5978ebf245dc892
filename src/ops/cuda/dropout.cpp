#include "kernels/dropout.h"

#include "ops/cuda/builders.h"

namespace onecycle::ONECYCLE_CUDA {

BuiltOp make_dropout(const OpDesc& given, const Context&) {
    require_operands(given, 2, 1);
    OpDesc desc = given;
    const TensorDesc& x = desc.inputs[0];
    require(desc.dropout >= 0 && desc.dropout < 1, desc, "its share is not at least 0 and below 1");
    adopt_layout(desc, 0, x.layout);
    require_like(desc, desc.outputs[0], x, "y");
    require(x.layout == Layout::plain && x.elements() > 0 && x.elements() < std::int64_t{1} << 34, desc,
            "x is not in plain order, or has no or 2^34 elements or more");
    const DropoutRule rule(desc.dropout, desc.seed, desc.dropout_layer);
    return with_float_type(desc, x.type, [&]<typename T>() {
        return op_from(
            desc, 0, [rule, n = x.elements()](void* const* in, void* const* out, void*, cudaStream_t stream) {
                dropout(output<T>(out, 0), input<T>(in, 0), input<StepControl>(in, 1), rule, n, stream);
            });
    });
}

}  // namespace onecycle::ONECYCLE_CUDA
