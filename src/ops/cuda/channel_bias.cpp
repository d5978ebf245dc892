// The bias of a convolution. An activation [N,H,W,C] is a matrix [N*H*W,C], so that these are the
// kernels of a linear layer's bias; the sum over so many rows goes in chunks, which are added in
// their order.
#include "kernels/linear.h"
#include "ops/cuda/batch_norm.h"

namespace onecycle::ONECYCLE_CUDA {

BuiltOp make_add_channel_bias(const OpDesc& desc, const Context&) {
    require_operands(desc, 2, 1);
    const TensorDesc& y = desc.outputs[0];
    require_nhwc(desc, y);
    require_like(desc, desc.inputs[0], y, "x");
    require_plain(desc, desc.inputs[1], {y[1]}, "b");
    return with_float_type(desc, y.type, [&]<typename T>() {
        return op_from(desc, 0,
                       [rows = y[0] * y[2] * y[3], channels = y[1]](void* const* in, void* const* out, void*,
                                                                    cudaStream_t stream) {
                           add_bias(output<T>(out, 0), input<T>(in, 0), input<float>(in, 1), rows, channels,
                                    stream);
                       });
    });
}

BuiltOp make_channel_bias_gradient(const OpDesc& given, const Context&) {
    require_operands(given, 1, 1);
    OpDesc desc = given;
    adopt_layout(desc, 0, Layout::plain);
    const TensorDesc& dy = desc.inputs[0];
    require_nhwc(desc, dy);
    require_plain(desc, desc.outputs[0], {dy[1]}, "db");
    const std::int64_t rows = dy[0] * dy[2] * dy[3], channels = dy[1], chunks = bias_gradient_chunks(rows);
    const std::size_t workspace =
        chunks > 1 ? static_cast<std::size_t>(chunks * channels) * sizeof(float) : 0;
    return with_float_type(desc, dy.type, [&]<typename T>() {
        return op_from(desc, workspace,
                       [=](void* const* in, void* const* out, void* partials, cudaStream_t stream) {
                           bias_gradient(output<float>(out, 0), static_cast<float*>(partials),
                                         input<T>(in, 0), rows, channels, stream);
                       });
    });
}

}  // namespace onecycle::ONECYCLE_CUDA
