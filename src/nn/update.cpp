// The update, at the end of its last micro batch: gradients are checked, then weights, moments, batch-norm statistics, average and
// counters take effect together, or nothing does.
#include "nn/compiler.h"
#include "rules/optimizer_rules.h"

namespace onecycle {

void add_update(ProgramBuilder& builder) {
    Program& program = builder.program;
    const OptimizerOptions& optimizer = program.key.optimizer;
    const bool last_micro = program.key.micro == optimizer.accumulate - 1;
    const TensorDesc flat{builder.layout.parameter_elements};
    const auto bytes = [](std::size_t n) {
        return TensorDesc({static_cast<std::int64_t>(n)}, Layout::plain, DType::u8);
    };
    const int gradients = builder.add_buffer("gradients", flat, Space::gradients);
    const int parameters = builder.add_buffer("parameters", flat, Space::parameters);
    const int control = builder.control();
    const int check = builder.add_buffer("check", bytes(sizeof(GradientCheck)));

    OpDesc desc;
    desc.loss_scale = builder.layout.compute == DType::f16;
    desc.optimizer = optimizer;
    desc.accumulation = optimizer.accumulate;
    desc.micro = program.key.micro;
    desc.rank = program.key.rank;
    desc.ranks = program.key.ranks;
    desc.parameters = builder.parameter_table();
    const auto step = [&](OpKind kind, const std::vector<int>& inputs, const std::vector<int>& outputs) {
        desc.kind = kind;
        builder.add_op(name_of(kind), Phase::update, desc, inputs, outputs);
    };

    const bool with_ema = optimizer.ema_decay > 0;
    std::vector<int> all_gradients = {gradients};
    const auto half_buffer = [&](const char* name, Space space) {
        TensorDesc half = flat;
        half.type = builder.layout.compute;
        return builder.add_buffer(name, half, space);
    };
    const bool half = builder.layout.compute != DType::f32;
    if (half) all_gradients.push_back(half_buffer("half_gradients", Space::half_gradients));
    const auto with_gradients = [&](std::initializer_list<int> more) {
        std::vector<int> inputs = all_gradients;
        inputs.insert(inputs.end(), more);
        return inputs;
    };
    const bool summed = optimizer.accumulate > 1, alone = program.key.ranks == 1;
    const int results = builder.results;
    // With several ranks all_reduce has added up everything (reduction.cpp), in f32.
    if (!alone) all_gradients = {gradients};
    if (alone && summed) {
        std::vector<int> outputs = {builder.add_buffer("gradient_sum", flat, Space::gradient_sum)};
        if (last_micro) outputs.push_back(gradients);
        step(OpKind::accumulate_gradients, all_gradients, outputs);
        all_gradients = {gradients};  // the sum is f32
        if (!builder.statistics.empty()) {
            const TensorDesc batch{builder.layout.batch_statistics_elements};
            const int values = builder.add_buffer("batch statistics", batch, Space::batch_statistics);
            outputs = {builder.add_buffer("sum of batch statistics", batch, Space::statistics_sum)};
            if (last_micro) outputs.push_back(values);
            OpDesc whole = desc;  // all of the buffer
            whole.kind = OpKind::accumulate_gradients;
            whole.parameters.clear();
            builder.add_op("accumulate_statistics", Phase::update, whole, {values}, outputs);
        }
    }
    if (!last_micro) {
        step(OpKind::add_metrics, {results}, {control});
        return;
    }
    step(OpKind::check_gradients, with_gradients({results, control}), {check});
    {
        std::vector<int> outputs = {parameters, builder.add_buffer("moment1", flat, Space::moment1)};
        if (has_second_moment(optimizer.kind))
            outputs.push_back(builder.add_buffer("moment2", flat, Space::moment2));
        std::vector<int> inputs = with_gradients({check, control});
        if (has_trust_ratio(optimizer.kind)) {
            // Beside the gradients the weights, of LAMB the moments, too.
            std::vector<int> measured = inputs;
            measured.insert(measured.end(), outputs.begin(),
                            outputs.begin() + (has_second_moment(optimizer.kind) ? 3 : 1));
            const auto parameter_count = static_cast<std::int64_t>(desc.parameters.size());
            const int ratios = builder.add_buffer("trust_ratios", {parameter_count});
            step(OpKind::trust_ratio, measured, {ratios});
            inputs.push_back(ratios);
        }
        if (half) outputs.push_back(half_buffer("half_parameters", Space::half_parameters));
        if (with_ema) outputs.push_back(builder.add_buffer("average", flat, Space::ema));
        if (with_ema && half) outputs.push_back(half_buffer("half_average", Space::half_ema));
        step(OpKind::update_parameters, inputs, outputs);
    }
    if (!builder.layout.statistics.empty()) {
        std::vector<int> inputs = {check};
        for (const auto& [layer, mean, variance] : builder.statistics) {
            StatisticsSegment segment =
                builder.layout.statistics[static_cast<std::size_t>(layer->statistics)];
            segment.samples =
                program.key.batch * program.key.ranks_of_batch_norm() * layer->shape[1] * layer->shape[2];
            desc.statistics.push_back(segment);
            inputs.insert(inputs.end(), {mean, variance});
        }
        std::vector<int> outputs = {
            builder.add_buffer("statistics", {builder.layout.statistics_elements}, Space::statistics)};
        if (with_ema)
            outputs.push_back(builder.add_buffer("average statistics", {builder.layout.statistics_elements},
                                                 Space::ema, flat.bytes()));
        step(OpKind::update_statistics, inputs, outputs);
    }
    step(OpKind::commit_step, {results, check},
         {control, builder.add_buffer("progress", bytes(sizeof(StepProgress)), Space::progress)});
}

}  // namespace onecycle
