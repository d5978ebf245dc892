// The stem's batch norm, ReLU and max pool as one operation, and its gradient.
#include "kernels/batch_norm_max_pool.h"

#include "ops/cuda/batch_norm.h"

namespace onecycle::ONECYCLE_CUDA {

BuiltOp make_batch_norm_max_pool(const OpDesc& given, const Context& context) {
    require_operands(given, 3, 4);
    OpDesc desc = given;
    const TensorDesc& x = desc.inputs[0];
    adopt_layout(desc, 0, x.layout);
    adopt_layout(desc, 1, x.layout);
    const PoolShape pool = pool_shape(desc, x, desc.outputs[0], desc.outputs[1]);
    require_channel_vectors(desc, desc.inputs, {1, 2}, x[1]);
    require_channel_vectors(desc, desc.outputs, {2, 3}, x[1]);
    return with_float_type(desc, x.type, [&]<typename T>() {
        const BatchNormShape shape = batch_norm_shape(desc, x, 1, context);
        return with_passes(
            shape,
            op_from(desc, batch_norm_workspace<T>(shape.rows, shape.channels, 1),
                    [shape, pool](void* const* in, void* const* out, void* workspace, cudaStream_t stream) {
                        const NormOperands<T> norm{input<T>(in, 0), input<float>(in, 1), input<float>(in, 2),
                                                   output<float>(out, 2), output<float>(out, 3)};
                        batch_norm_max_pool(output<T>(out, 0), output<std::uint8_t>(out, 1), norm, shape,
                                            pool, workspace, stream);
                    }));
    });
}

BuiltOp make_batch_norm_max_pool_backward(const OpDesc& given, const Context& context) {
    const bool second = given.second_gradient;
    require_operands(given, second ? 8 : 7, 3);
    OpDesc desc = given;
    const TensorDesc& x = desc.inputs[2];
    adopt_layout(desc, 0, x.layout);
    const PoolShape pool = pool_shape(desc, x, desc.inputs[0], desc.inputs[1]);
    require_like(desc, desc.outputs[0], x, "dx");
    if (second) require_like(desc, desc.inputs[7], desc.inputs[0], "dy2");
    require_channel_vectors(desc, desc.inputs, {3, 4, 5, 6}, x[1]);
    require_channel_vectors(desc, desc.outputs, {1, 2}, x[1]);
    return with_float_type(desc, x.type, [&]<typename T>() {
        // dy and the index together are at most as large as x, in the windows that are used.
        const BatchNormShape shape = batch_norm_shape(desc, x, 2, context);
        return with_passes(
            shape, op_from(desc, batch_norm_backward_workspace<T>(shape.rows, shape.channels, 1),
                           [shape, pool, second](void* const* in, void* const* out, void* workspace,
                                                 cudaStream_t stream) {
                               const NormGradient<T> norm{input<T>(in, 2),       input<float>(in, 3),
                                                          input<float>(in, 4),   input<float>(in, 5),
                                                          input<float>(in, 6),   output<T>(out, 0),
                                                          output<float>(out, 1), output<float>(out, 2)};
                               batch_norm_max_pool_backward(
                                   norm, input<T>(in, 0), second ? input<T>(in, 7) : nullptr,
                                   input<std::uint8_t>(in, 1), shape, pool, workspace, stream);
                           }));
    });
}

}  // namespace onecycle::ONECYCLE_CUDA
