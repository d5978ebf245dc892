// What stands behind the logits: the loss and its gradient, an evaluation's sums, or the
// probabilities.
#include "nn/compiler.h"

namespace onecycle {

void add_loss(ProgramBuilder& builder) {
    Program& program = builder.program;
    const std::int64_t batch = program.key.batch, classes = builder.network.classes();
    if (program.key.mode == Mode::predict) {
        program.probabilities = builder.add_buffer("probabilities", {batch, classes});
        builder.add_op("softmax", Phase::loss, {.kind = OpKind::softmax}, {builder.logits},
                       {program.probabilities});
        return;
    }
    program.result =
        builder.add_buffer("result", TensorDesc({sizeof(BatchResult)}, Layout::plain, DType::u8));
    OpDesc desc{.kind = OpKind::softmax_cross_entropy,
                .label_smoothing = program.key.label_smoothing,
                .class_weights = program.key.class_weights,
                .gradient = program.key.mode == Mode::train,
                .label_pairs = builder.labels2 >= 0,
                .loss_scale = program.key.mode == Mode::train && builder.layout.compute == DType::f16};
    std::vector<int> inputs = {builder.logits, program.labels, program.count}, outputs = {program.result};
    if (desc.class_weights) {
        program.class_weights = builder.add_buffer("class_weights", {classes}, Space::constant);
        inputs.push_back(program.class_weights);
    }
    if (desc.loss_scale) inputs.push_back(builder.control());
    if (desc.label_pairs) inputs.insert(inputs.end(), {builder.labels2, builder.label_weight});
    if (desc.gradient) {
        builder.logits_gradient =
            builder.add_buffer("grad " + builder.name(builder.logits),
                               TensorDesc({batch, classes}, Layout::plain, builder.layout.compute));
        outputs.push_back(builder.logits_gradient);
    }
    builder.add_op("cross_entropy", Phase::loss, desc, inputs, outputs);
    if (program.key.mode == Mode::evaluate) {
        builder.add_op("add_metrics", Phase::loss, {.kind = OpKind::add_metrics}, {program.result},
                       {builder.control()});
        if (!program.key.confusion) return;
        program.counts = builder.add_buffer(
            "counts", TensorDesc({classes, classes}, Layout::plain, DType::i32), Space::counts);
        builder.add_op("confusion", Phase::loss, {.kind = OpKind::confusion},
                       {builder.logits, program.labels, program.count}, {program.counts});
    }
}

}  // namespace onecycle
