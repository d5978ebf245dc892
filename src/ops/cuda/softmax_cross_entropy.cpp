#include "kernels/loss.h"
#include "ops/cuda/builders.h"

namespace onecycle::ONECYCLE_CUDA {

BuiltOp make_softmax_cross_entropy(const OpDesc& given, const Context&) {
    const std::size_t weights_at = 3, control_at = given.class_weights ? 4 : 3;
    const std::size_t pairs_at = control_at + (given.loss_scale ? 1 : 0);
    require_operands(given, pairs_at + (given.label_pairs ? 2 : 0), given.gradient ? 2 : 1);
    const std::int64_t n = given.inputs[0][0], classes = given.inputs[0][1];
    require_labelled_logits(given);
    if (given.class_weights) require_plain(given, given.inputs[weights_at], {classes}, "class weights");
    if (given.label_pairs) require_label_pairs(given, pairs_at);
    OpDesc desc = given;
    DType type = DType::f32;
    if (desc.gradient) {
        adopt_layout(desc, 1, Layout::plain);
        type = desc.outputs[1].type;
        require_like(desc, desc.outputs[1], TensorDesc({n, classes}, Layout::plain, type), "dlogits");
    }
    return with_float_type(desc, type, [&]<typename T>() {
        return op_from(desc, static_cast<std::size_t>(n) * sizeof(RowResult),
                       [=, weighted = desc.class_weights, scaled = desc.loss_scale, gradient = desc.gradient,
                        paired = desc.label_pairs, smoothing = desc.label_smoothing](
                           void* const* in, void* const* out, void* work, cudaStream_t stream) {
                           const LabelPairs pairs{paired ? input<std::int32_t>(in, pairs_at) : nullptr,
                                                  paired ? input<float>(in, pairs_at + 1) : nullptr};
                           softmax_cross_entropy(
                               output<BatchResult>(out, 0), gradient ? output<T>(out, 1) : nullptr,
                               static_cast<RowResult*>(work), input<float>(in, 0), input<std::int32_t>(in, 1),
                               input<std::int32_t>(in, 2), weighted ? input<float>(in, weights_at) : nullptr,
                               scaled ? input<StepControl>(in, control_at) : nullptr, pairs, smoothing, n,
                               classes, stream);
                       });
    });
}

BuiltOp make_softmax(const OpDesc& given, const Context&) {
    require_operands(given, 1, 1);
    const std::int64_t n = given.inputs[0][0], classes = given.inputs[0][1];
    require_plain(given, given.inputs[0], {n, classes}, "logits");
    OpDesc desc = given;
    adopt_layout(desc, 0, Layout::plain);
    require_plain(desc, desc.outputs[0], {n, classes}, "probabilities");
    return op_from(desc, 0, [=](void* const* in, void* const* out, void*, cudaStream_t stream) {
        softmax(output<float>(out, 0), input<float>(in, 0), n, classes, stream);
    });
}

}  // namespace onecycle::ONECYCLE_CUDA
