// Batch norm, forward: training, inference, and two that are added.
#include "ops/cuda/batch_norm.h"

namespace onecycle::ONECYCLE_CUDA {

BuiltOp make_batch_norm(const OpDesc& given, const Context& context) {
    require_operands(given, given.residual ? 4 : 3, 3);
    OpDesc desc = given;
    const TensorDesc& x = desc.inputs[0];
    require_rows(desc, x);
    adopt_layout(desc, 0, x.layout);
    require_like(desc, desc.outputs[0], x, "y");
    if (desc.residual) require_like(desc, desc.inputs[3], x, "residual");
    require_channel_vectors(desc, desc.inputs, {1, 2}, x[1]);
    require_channel_vectors(desc, desc.outputs, {1, 2}, x[1]);
    return with_float_type(desc, x.type, [&]<typename T>() {
        const BatchNormShape shape = batch_norm_shape(desc, x, 1, context);
        return with_passes(
            shape, op_from(desc, batch_norm_workspace<T>(shape.rows, shape.channels, 1),
                           [shape, relu = desc.relu, residual = desc.residual](
                               void* const* in, void* const* out, void* workspace, cudaStream_t stream) {
                               const NormOperands<T> norm{input<T>(in, 0), input<float>(in, 1),
                                                          input<float>(in, 2), output<float>(out, 1),
                                                          output<float>(out, 2)};
                               batch_norm(output<T>(out, 0), norm, residual ? input<T>(in, 3) : nullptr, relu,
                                          shape, workspace, stream);
                           }));
    });
}

BuiltOp make_batch_norm_statistics(const OpDesc& desc, const Context& context) {
    require_operands(desc, 1, 2);
    const TensorDesc& x = desc.inputs[0];
    require_rows(desc, x);
    require_channel_vectors(desc, desc.outputs, {0, 1}, x[1]);
    return with_float_type(desc, x.type, [&]<typename T>() {
        const BatchNormShape shape = batch_norm_shape(desc, x, 1, context);
        return op_from(desc, batch_norm_workspace<T>(shape.rows, shape.channels, 1),
                       [shape](void* const* in, void* const* out, void* workspace, cudaStream_t stream) {
                           batch_norm_statistics(output<float>(out, 0), output<float>(out, 1),
                                                 input<T>(in, 0), shape, workspace, stream);
                       });
    });
}

BuiltOp make_batch_norm_inference(const OpDesc& given, const Context& context) {
    require_operands(given, given.residual ? 6 : 5, 1);
    OpDesc desc = given;
    const TensorDesc& x = desc.inputs[0];
    require_rows(desc, x);
    adopt_layout(desc, 0, x.layout);
    require_like(desc, desc.outputs[0], x, "y");
    if (desc.residual) require_like(desc, desc.inputs[5], x, "residual");
    require_channel_vectors(desc, desc.inputs, {1, 2, 3, 4}, x[1]);
    return with_float_type(desc, x.type, [&]<typename T>() {
        const BatchNormShape shape = batch_norm_shape(desc, x, 1, context);
        return op_from(desc, 0,
                       [shape, relu = desc.relu, residual = desc.residual](void* const* in, void* const* out,
                                                                           void*, cudaStream_t stream) {
                           batch_norm_inference(output<T>(out, 0), input<T>(in, 0), input<float>(in, 1),
                                                input<float>(in, 2), input<float>(in, 3), input<float>(in, 4),
                                                residual ? input<T>(in, 5) : nullptr, relu, shape, stream);
                       });
    });
}

BuiltOp make_batch_norm_pair(const OpDesc& given, const Context& context) {
    require_operands(given, 6, 5);
    OpDesc desc = given;
    const TensorDesc& x = desc.inputs[0];
    require_nhwc(desc, x);
    adopt_layout(desc, 0, x.layout);
    require_like(desc, desc.outputs[0], x, "y");
    require_like(desc, desc.inputs[3], x, "x2");
    require_channel_vectors(desc, desc.inputs, {1, 2, 4, 5}, x[1]);
    require_channel_vectors(desc, desc.outputs, {1, 2, 3, 4}, x[1]);
    return with_float_type(desc, x.type, [&]<typename T>() {
        const BatchNormShape shape = batch_norm_shape(desc, x, 2, context);
        return with_passes(
            shape, op_from(desc, batch_norm_workspace<T>(shape.rows, shape.channels, 2),
                           [shape](void* const* in, void* const* out, void* workspace, cudaStream_t stream) {
                               const auto norm = [&](std::size_t i) {
                                   return NormOperands<T>{input<T>(in, 3 * i), input<float>(in, 3 * i + 1),
                                                          input<float>(in, 3 * i + 2),
                                                          output<float>(out, 2 * i + 1),
                                                          output<float>(out, 2 * i + 2)};
                               };
                               batch_norm_pair(output<T>(out, 0), norm(0), norm(1), shape, workspace, stream);
                           }));
    });
}

}  // namespace onecycle::ONECYCLE_CUDA
