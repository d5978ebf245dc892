#include "kernels/adaptive_pool.h"

#include "ops/cuda/batch_norm.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

AdaptivePoolShape shape_of(const OpDesc& desc, const TensorDesc& x, const TensorDesc& features) {
    require_nhwc(desc, x);
    require_like(desc, features, TensorDesc({x[0], x[1] * desc.kernel * desc.kernel}, Layout::plain, x.type),
                 "the features");
    require(x.elements() < std::int64_t{1} << 31 && features.elements() < std::int64_t{1} << 31, desc,
            "there are 2^31 elements or more");
    const auto as_int = [](std::int64_t n) { return static_cast<std::int32_t>(n); };
    return {.images = as_int(x[0]),
            .channels = as_int(x[1]),
            .height = as_int(x[2]),
            .width = as_int(x[3]),
            .side = desc.kernel};
}

}  // namespace

BuiltOp make_adaptive_average_pool(const OpDesc& given, const Context&) {
    require_operands(given, 1, 1);
    OpDesc desc = given;
    adopt_layout(desc, 0, Layout::plain);
    const AdaptivePoolShape shape = shape_of(desc, desc.inputs[0], desc.outputs[0]);
    return with_float_type(desc, desc.inputs[0].type, [&]<typename T>() {
        return op_from(desc, 0, [shape](void* const* in, void* const* out, void*, cudaStream_t stream) {
            adaptive_average_pool(output<T>(out, 0), input<T>(in, 0), shape, stream);
        });
    });
}

BuiltOp make_adaptive_average_pool_backward(const OpDesc& desc, const Context&) {
    require_operands(desc, 1, 1);
    const AdaptivePoolShape shape = shape_of(desc, desc.outputs[0], desc.inputs[0]);
    return with_float_type(desc, desc.outputs[0].type, [&]<typename T>() {
        return op_from(desc, 0, [shape](void* const* in, void* const* out, void*, cudaStream_t stream) {
            adaptive_average_pool_backward(output<T>(out, 0), input<T>(in, 0), shape, stream);
        });
    });
}

}  // namespace onecycle::ONECYCLE_CUDA
