// ReLU and addition, on tensors of any one layout: order does not matter to them.
#include "ops/cpu/builders.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/simd.h"

namespace onecycle::cpu {

namespace {

ONECYCLE_CLONES
void relu_range(const float* x, float* y, Range range) {
    for (std::int64_t i = range.begin; i < range.end; ++i) y[i] = x[i] <= 0 ? 0 : x[i];  // NaN stays
}

ONECYCLE_CLONES
void relu_backward_range(const float* dy, const float* y, float* dx, Range range) {
    for (std::int64_t i = range.begin; i < range.end; ++i) dx[i] = y[i] > 0 ? dy[i] : 0;
}

ONECYCLE_CLONES
void add_range(const float* a, const float* b, float* y, Range range) {
    for (std::int64_t i = range.begin; i < range.end; ++i) y[i] = a[i] + b[i];
}

OpDesc checked(const OpDesc& given, std::size_t inputs) {
    require_operands(given, inputs, 1);
    OpDesc desc = given;
    const TensorDesc& first = desc.inputs[0];
    require(first.type == DType::f32, desc, "operands are f32");
    adopt_layout(desc, 0, first.layout);
    require_like(desc, desc.outputs[0], first, "the output");
    if (inputs == 2) require_like(desc, desc.inputs[1], first, "the second input");
    return desc;
}

}  // namespace

BuiltOp make_relu(const OpDesc& given, const Context& context) {
    const OpDesc desc = checked(given, 1);
    const std::int64_t n = desc.inputs[0].elements();
    return op_from(desc, 0, [n, threads = context.threads](void* const* in, void* const* out, void*) {
        parallel_flat(threads, n, [&](Range range) { relu_range(floats(in[0]), floats_out(out[0]), range); });
    });
}

BuiltOp make_relu_backward(const OpDesc& given, const Context& context) {
    const OpDesc desc = checked(given, 2);
    const std::int64_t n = desc.inputs[0].elements();
    return op_from(desc, 0, [n, threads = context.threads](void* const* in, void* const* out, void*) {
        parallel_flat(threads, n, [&](Range range) {
            relu_backward_range(floats(in[0]), floats(in[1]), floats_out(out[0]), range);
        });
    });
}

BuiltOp make_add(const OpDesc& given, const Context& context) {
    const OpDesc desc = checked(given, 2);
    const std::int64_t n = desc.inputs[0].elements();
    return op_from(desc, 0, [n, threads = context.threads](void* const* in, void* const* out, void*) {
        parallel_flat(threads, n, [&](Range range) {
            add_range(floats(in[0]), floats(in[1]), floats_out(out[0]), range);
        });
    });
}

}  // namespace onecycle::cpu
