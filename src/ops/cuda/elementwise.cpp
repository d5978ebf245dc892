// ReLU and addition, on tensors of any one layout: order does not matter to them.
#include "kernels/elementwise.h"

#include "ops/cuda/builders.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

OpDesc checked(const OpDesc& given, std::size_t inputs) {
    require_operands(given, inputs, 1);
    OpDesc desc = given;
    const TensorDesc& first = desc.inputs[0];
    adopt_layout(desc, 0, first.layout);
    require_like(desc, desc.outputs[0], first, "the output");
    if (inputs == 2) require_like(desc, desc.inputs[1], first, "the second input");
    return desc;
}

}  // namespace

BuiltOp make_relu(const OpDesc& given, const Context&) {
    const OpDesc desc = checked(given, 1);
    return with_float_type(desc, desc.inputs[0].type, [&]<typename T>() {
        const std::int64_t n = desc.inputs[0].stored_elements();
        return op_from(desc, 0, [n](void* const* in, void* const* out, void*, cudaStream_t stream) {
            relu(output<T>(out, 0), input<T>(in, 0), n, stream);
        });
    });
}

BuiltOp make_relu_backward(const OpDesc& given, const Context&) {
    const OpDesc desc = checked(given, 2);
    return with_float_type(desc, desc.inputs[0].type, [&]<typename T>() {
        const std::int64_t n = desc.inputs[0].stored_elements();
        return op_from(desc, 0, [n](void* const* in, void* const* out, void*, cudaStream_t stream) {
            relu_backward(output<T>(out, 0), input<T>(in, 0), input<T>(in, 1), n, stream);
        });
    });
}

BuiltOp make_add(const OpDesc& given, const Context&) {
    const OpDesc desc = checked(given, 2);
    return with_float_type(desc, desc.inputs[0].type, [&]<typename T>() {
        const std::int64_t n = desc.inputs[0].stored_elements();
        return op_from(desc, 0, [n](void* const* in, void* const* out, void*, cudaStream_t stream) {
            add(output<T>(out, 0), input<T>(in, 0), input<T>(in, 1), n, stream);
        });
    });
}

}  // namespace onecycle::ONECYCLE_CUDA
