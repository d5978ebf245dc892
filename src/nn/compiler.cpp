#include "nn/compiler.h"

#include "nn/cost.h"
#include "nn/dependencies.h"
#include "nn/memory_plan.h"
#include "onecycle/error.h"

namespace onecycle {

const char* name_of(Phase phase) {
    static constexpr const char* names[] = {"forward", "loss", "backward", "update"};
    return names[static_cast<std::size_t>(phase)];
}

ProgramBuilder::ProgramBuilder(const Network& network_, const StateLayout& layout_, const Backend& backend_,
                               const ProgramKey& key)
    : network(network_), layout(layout_), backend(backend_) {
    program.key = key;
    for (std::size_t i = 0; i < layout.parameters.size(); ++i) {
        const ParameterSegment& segment = layout.parameters[i];
        const std::string& parameter_name = network.parameters()[i].name;
        const auto add = [&](const std::string& name, bool half, Space full_space, Space half_space) {
            TensorDesc desc = layout.parameter_desc[i];
            if (half) desc.type = layout.compute;
            return add_buffer(name, desc, half ? half_space : full_space,
                              static_cast<std::size_t>(segment.offset) * size_of(desc.type));
        };
        parameter_buffers_.push_back(
            add(parameter_name, segment.half, Space::parameters, Space::half_parameters));
        if (key.mode == Mode::train)
            gradient_buffers_.push_back(add("grad " + parameter_name, segment.half_gradient, Space::gradients,
                                            Space::half_gradients));
    }
}

bool ProgramBuilder::is_frozen(int parameter) const {
    const Parameter& p = network.parameters()[static_cast<std::size_t>(parameter)];
    const bool norm = p.role == ParameterRole::norm_weight || p.role == ParameterRole::norm_bias;
    return p.part < program.key.frozen.parts && (!norm || program.key.frozen.norms);
}

bool ProgramBuilder::trains(const Layer& batch_norm) const {
    return program.key.mode == Mode::train && !is_frozen(batch_norm.parameters[0]);
}

std::vector<ParameterSegment> ProgramBuilder::parameter_table() const {
    std::vector<ParameterSegment> table = layout.parameters;
    const std::vector<double>& rates = program.key.group_rates;
    for (std::size_t i = 0; i < table.size(); ++i) {
        table[i].frozen = is_frozen(static_cast<int>(i));
        if (!rates.empty())
            table[i].lr_multiplier = rates.at(static_cast<std::size_t>(network.parameters()[i].group));
    }
    return table;
}

int ProgramBuilder::add_buffer(const std::string& name, const TensorDesc& desc, Space space,
                               std::size_t offset) {
    program.buffers.push_back(
        {.name = name, .desc = desc, .space = space, .bytes = desc.bytes(), .offset = offset});
    return static_cast<int>(program.buffers.size()) - 1;
}

int ProgramBuilder::activation(const std::string& name, const Layer& layer) {
    return add_buffer(name, TensorDesc({program.key.batch, layer.shape[0], layer.shape[1], layer.shape[2]},
                                       Layout::any, layout.compute));
}

int ProgramBuilder::control() {
    if (control_ < 0)
        control_ = add_buffer("control", TensorDesc({sizeof(StepControl)}, Layout::plain, DType::u8),
                              Space::control);
    return control_;
}

int ProgramBuilder::vector(const std::string& name, std::int64_t channels) {
    return add_buffer(name, {channels});
}

void ProgramBuilder::add_op(const std::string& name, Phase phase, OpDesc desc, std::vector<int> inputs,
                            std::vector<int> outputs, int branch) {
    const auto buffer = [&](int b) -> Buffer& { return program.buffers[static_cast<std::size_t>(b)]; };
    for (int b : inputs) desc.inputs.push_back(buffer(b).desc);
    for (int b : outputs) desc.outputs.push_back(buffer(b).desc);
    BuiltOp made = backend.make(desc);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
        buffer(outputs[i]).desc.layout = made.desc.outputs[i].layout;
        buffer(outputs[i]).bytes = buffer(outputs[i]).desc.bytes();
    }
    ProgramOp op;
    op.name = name;
    op.phase = phase;
    op.branch = branch;
    op.inputs = std::move(inputs);
    op.outputs = std::move(outputs);
    op.desc = std::move(made.desc);
    op.implementation = made.implementation;
    op.reorders = made.reorders;
    op.workspace = made.workspace;
    op.flops = flops_of(op.desc);
    op.bytes = bytes_of(op.desc, made.second_pass_cached);
    program.ops.push_back(std::move(op));
    program.implementations.push_back(std::move(made.op));
}

double Program::flops() const {
    double sum = 0;
    for (const ProgramOp& op : ops) sum += op.flops;
    return sum;
}

double Program::bytes() const {
    double sum = 0;
    for (const ProgramOp& op : ops) sum += op.bytes;
    return sum;
}

Program compile(const Network& network, const StateLayout& layout, const Backend& backend,
                const ProgramKey& key) {
    if (key.batch < 1)
        throw Error(ErrorKind::usage, "cannot compile", "batch size " + std::to_string(key.batch),
                    "it must be at least 1");
    ProgramBuilder builder(network, layout, backend, key);
    add_forward(builder);
    add_loss(builder);
    if (key.mode == Mode::train) {
        builder.results = builder.program.result;
        if (key.ranks > 1) add_gather_results(builder);
        add_backward(builder);
        if (key.ranks > 1) add_reduction(builder);
        add_update(builder);
    }
    Program& program = builder.program;
    add_waits(program.buffers, program.ops);
    std::vector<int> kept;
    for (int b : {program.result, program.probabilities})
        if (b >= 0) kept.push_back(b);
    plan_memory(program, kept);
    return std::move(builder.program);
}

}  // namespace onecycle
