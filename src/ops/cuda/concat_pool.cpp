#include "kernels/concat_pool.h"

#include "ops/cuda/batch_norm.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

ConcatPoolShape shape_of(const OpDesc& desc, const TensorDesc& x, const TensorDesc& features,
                         const TensorDesc& index) {
    require_nhwc(desc, x);
    require_like(desc, features, TensorDesc({x[0], 2 * x[1]}, Layout::plain, x.type), "the features");
    require_like(desc, index, TensorDesc({x[0], x[1]}, Layout::plain, DType::i32), "the index");
    require(x.elements() < std::int64_t{1} << 31, desc, "x has 2^31 elements or more");
    return {.images = x[0], .pixels = x[2] * x[3], .channels = x[1]};
}

}  // namespace

BuiltOp make_concat_pool(const OpDesc& given, const Context&) {
    require_operands(given, 1, 2);
    OpDesc desc = given;
    for (std::size_t i : {0, 1}) adopt_layout(desc, i, Layout::plain);
    const ConcatPoolShape shape = shape_of(desc, desc.inputs[0], desc.outputs[0], desc.outputs[1]);
    return with_float_type(desc, desc.inputs[0].type, [&]<typename T>() {
        return op_from(desc, 0, [shape](void* const* in, void* const* out, void*, cudaStream_t stream) {
            concat_pool(output<T>(out, 0), output<std::int32_t>(out, 1), input<T>(in, 0), shape, stream);
        });
    });
}

BuiltOp make_concat_pool_backward(const OpDesc& desc, const Context&) {
    require_operands(desc, 2, 1);
    const ConcatPoolShape shape = shape_of(desc, desc.outputs[0], desc.inputs[0], desc.inputs[1]);
    return with_float_type(desc, desc.outputs[0].type, [&]<typename T>() {
        return op_from(desc, 0, [shape](void* const* in, void* const* out, void*, cudaStream_t stream) {
            concat_pool_backward(output<T>(out, 0), input<T>(in, 0), input<std::int32_t>(in, 1), shape,
                                 stream);
        });
    });
}

}  // namespace onecycle::ONECYCLE_CUDA
