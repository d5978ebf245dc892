// Max pooling and global average pooling, forward and backward.
#include "kernels/pool.h"

#include "ops/cuda/batch_norm.h"

namespace onecycle::ONECYCLE_CUDA {

BuiltOp make_max_pool(const OpDesc& given, const Context&) {
    require_operands(given, 1, 2);
    OpDesc desc = given;
    const TensorDesc& x = desc.inputs[0];
    adopt_layout(desc, 0, x.layout);
    adopt_layout(desc, 1, x.layout);
    const PoolShape shape = pool_shape(desc, x, desc.outputs[0], desc.outputs[1]);
    return with_float_type(desc, x.type, [&]<typename T>() {
        return op_from(desc, 0, [shape](void* const* in, void* const* out, void*, cudaStream_t stream) {
            max_pool(output<T>(out, 0), output<std::uint8_t>(out, 1), input<T>(in, 0), shape, stream);
        });
    });
}

BuiltOp make_max_pool_backward(const OpDesc& given, const Context&) {
    const bool second = given.second_gradient;
    require_operands(given, second ? 3 : 2, 1);
    OpDesc desc = given;
    const TensorDesc& dx = desc.outputs[0];
    adopt_layout(desc, 0, desc.inputs[0].layout);
    const PoolShape shape = pool_shape(desc, dx, desc.inputs[0], desc.inputs[1]);
    if (second) require_like(desc, desc.inputs[2], desc.inputs[0], "dy2");
    return with_float_type(desc, dx.type, [&]<typename T>() {
        return op_from(
            desc, 0, [shape, second](void* const* in, void* const* out, void*, cudaStream_t stream) {
                max_pool_backward(output<T>(out, 0), input<T>(in, 0), second ? input<T>(in, 2) : nullptr,
                                  input<std::uint8_t>(in, 1), shape, stream);
            });
    });
}

namespace {

// The features [N,C] are of the activation's type T or float. Calls f.operator()<T, U>(images,
// pixels, channels).
template <typename F>
BuiltOp average_of(const OpDesc& desc, const TensorDesc& x, const TensorDesc& features, F f) {
    require_nhwc(desc, x);
    require(features.layout == Layout::plain && features.same_shape({x[0], x[1]}), desc,
            "the features are not [N,C] in plain order");
    require(features.type == x.type || features.type == DType::f32, desc,
            "the features are neither of the activation's type nor float");
    require(x[2] * x[3] < std::int64_t{1} << 31 && x[0] < std::int64_t{1} << 31, desc,
            "2^31 pixels or more, or as many images");
    return with_float_type(desc, x.type, [&]<typename T>() {
        return features.type == DType::f32 ? f.template operator()<T, float>(x[0], x[2] * x[3], x[1])
                                           : f.template operator()<T, T>(x[0], x[2] * x[3], x[1]);
    });
}

}  // namespace

BuiltOp make_global_average_pool(const OpDesc& given, const Context&) {
    require_operands(given, 1, 1);
    OpDesc desc = given;
    adopt_layout(desc, 0, Layout::plain);
    return average_of(
        desc, desc.inputs[0], desc.outputs[0],
        [&]<typename T, typename U>(auto images, auto pixels, auto channels) {
            return op_from(desc, 0, [=](void* const* in, void* const* out, void*, cudaStream_t stream) {
                global_average_pool(output<U>(out, 0), input<T>(in, 0), images, pixels, channels, stream);
            });
        });
}

BuiltOp make_global_average_pool_backward(const OpDesc& desc, const Context&) {
    require_operands(desc, 1, 1);
    return average_of(desc, desc.outputs[0], desc.inputs[0],
                      [&]<typename T, typename U>(auto images, auto pixels, auto channels) {
                          return op_from(desc, 0,
                                         [=](void* const* in, void* const* out, void*, cudaStream_t stream) {
                                             global_average_pool_backward(output<T>(out, 0), input<U>(in, 0),
                                                                          images, pixels, channels, stream);
                                         });
                      });
}

}  // namespace onecycle::ONECYCLE_CUDA
