// Batch norm, backward.
#include "kernels/batch_norm_backward.h"

#include "ops/cuda/batch_norm.h"

namespace onecycle::ONECYCLE_CUDA {

BuiltOp make_batch_norm_backward(const OpDesc& given, const Context& context) {
    OpDesc desc = given;
    const bool second = desc.second_gradient, residual = desc.residual;
    require_operands(desc, 6 + (second ? 1u : 0u) + (residual ? 1u : 0u), residual ? 4 : 3);
    const TensorDesc& x = desc.inputs[1];
    require_rows(desc, x);
    adopt_layout(desc, 0, x.layout);
    if (residual) adopt_layout(desc, 3, x.layout);
    require_like(desc, desc.inputs[0], x, "dy");
    require_like(desc, desc.outputs[0], x, "dx");
    for (std::size_t i = 6; i < desc.inputs.size(); ++i) require_like(desc, desc.inputs[i], x, "dy2 or y");
    if (residual) require_like(desc, desc.outputs[3], x, "dresidual");
    require_channel_vectors(desc, desc.inputs, {2, 3, 4, 5}, x[1]);
    require_channel_vectors(desc, desc.outputs, {1, 2}, x[1]);
    return with_float_type(desc, x.type, [&]<typename T>() {
        const BatchNormShape shape = batch_norm_shape(desc, x, second && !residual ? 3 : 2, context);
        return with_passes(
            shape, op_from(desc, batch_norm_backward_workspace<T>(shape.rows, shape.channels, 1),
                           [shape, second, residual, with_relu = desc.relu](
                               void* const* in, void* const* out, void* workspace, cudaStream_t stream) {
                               const NormGradient<T> norm{input<T>(in, 1),       input<float>(in, 2),
                                                          input<float>(in, 3),   input<float>(in, 4),
                                                          input<float>(in, 5),   output<T>(out, 0),
                                                          output<float>(out, 1), output<float>(out, 2)};
                               const T *dy = input<T>(in, 0), *dy2 = second ? input<T>(in, 6) : nullptr;
                               if (!residual)
                                   return batch_norm_backward(norm, dy, dy2, with_relu, shape, workspace,
                                                              stream);
                               const T* const y = with_relu ? input<T>(in, second ? 7 : 6) : nullptr;
                               batch_norm_residual_backward(norm, output<T>(out, 3), dy, dy2, y, shape,
                                                            workspace, stream);
                           }));
    });
}

BuiltOp make_batch_norm_gradients(const OpDesc& given, const Context& context) {
    OpDesc desc = given;
    const bool second = desc.second_gradient, residual = desc.residual;
    require_batch_norm_gradients(desc);
    const TensorDesc& x = desc.inputs[1];
    require_rows(desc, x);
    return with_float_type(desc, x.type, [&]<typename T>() {
        const BatchNormShape shape = batch_norm_shape(desc, x, 2, context);
        return op_from(
            desc, batch_norm_backward_workspace<T>(shape.rows, shape.channels, 1),
            [shape, second, residual, with_relu = desc.relu](void* const* in, void* const* out,
                                                             void* workspace, cudaStream_t stream) {
                const NormGradient<T> norm{input<T>(in, 1),       input<float>(in, 2),  input<float>(in, 3),
                                           input<float>(in, 4),   input<float>(in, 5),  nullptr,
                                           output<float>(out, 0), output<float>(out, 1)};
                batch_norm_gradients(norm, residual ? output<T>(out, 2) : nullptr, input<T>(in, 0),
                                     second ? input<T>(in, 6) : nullptr,
                                     residual && with_relu ? input<T>(in, second ? 7 : 6) : nullptr,
                                     with_relu, shape, workspace, stream);
            });
    });
}

BuiltOp make_batch_norm_input_gradient(const OpDesc& given, const Context& context) {
    OpDesc desc = given;
    const bool second = desc.second_gradient;
    require_batch_norm_input_gradient(desc);
    const TensorDesc& x = desc.inputs[1];
    require_rows(desc, x);
    return with_float_type(desc, x.type, [&]<typename T>() {
        const BatchNormShape shape = batch_norm_shape(desc, x, 2, context);
        return op_from(desc, 0,
                       [shape, second, with_relu = desc.relu](void* const* in, void* const* out, void*,
                                                              cudaStream_t stream) {
                           // The second pass only reads the sums.
                           const NormGradient<T> norm{input<T>(in, 1),
                                                      input<float>(in, 2),
                                                      input<float>(in, 3),
                                                      input<float>(in, 4),
                                                      input<float>(in, 5),
                                                      output<T>(out, 0),
                                                      const_cast<float*>(input<float>(in, 6)),
                                                      const_cast<float*>(input<float>(in, 7))};
                           batch_norm_input_gradient(norm, input<T>(in, 0),
                                                     second ? input<T>(in, 8) : nullptr, with_relu, shape,
                                                     stream);
                       });
    });
}

BuiltOp make_batch_norm_pair_backward(const OpDesc& given, const Context& context) {
    OpDesc desc = given;
    const bool second = desc.second_gradient;
    require_operands(desc, second ? 11 : 10, 6);
    const TensorDesc& x = desc.inputs[1];
    require_nhwc(desc, x);
    for (std::size_t i : {0, 3}) {
        adopt_layout(desc, i, x.layout);
        require_like(desc, desc.outputs[i], x, i ? "dx2" : "dx");
    }
    require_like(desc, desc.inputs[0], x, "dy");
    require_like(desc, desc.inputs[5], x, "x2");
    require_like(desc, desc.inputs[9], x, "y");
    if (second) require_like(desc, desc.inputs[10], x, "dy2");
    require_channel_vectors(desc, desc.inputs, {2, 3, 4, 6, 7, 8}, x[1]);
    require_channel_vectors(desc, desc.outputs, {1, 2, 4, 5}, x[1]);
    return with_float_type(desc, x.type, [&]<typename T>() {
        const BatchNormShape shape = batch_norm_shape(desc, x, second ? 5 : 4, context);
        return with_passes(
            shape,
            op_from(desc, batch_norm_backward_workspace<T>(shape.rows, shape.channels, 2),
                    [shape, second](void* const* in, void* const* out, void* workspace, cudaStream_t stream) {
                        const auto norm = [&](std::size_t i) {
                            return NormGradient<T>{input<T>(in, 1 + 4 * i),
                                                   input<float>(in, 2 + 4 * i),
                                                   input<float>(in, 3 + 4 * i),
                                                   input<float>(in, 4 + 4 * i),
                                                   nullptr,
                                                   output<T>(out, 3 * i),
                                                   output<float>(out, 3 * i + 1),
                                                   output<float>(out, 3 * i + 2)};
                        };
                        batch_norm_pair_backward(norm(0), norm(1), input<T>(in, 0),
                                                 second ? input<T>(in, 10) : nullptr, input<T>(in, 9), shape,
                                                 workspace, stream);
                    }));
    });
}

}  // namespace onecycle::ONECYCLE_CUDA
