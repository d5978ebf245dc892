#include <fmt/format.h>

#include "nn/program.h"

namespace onecycle {

namespace {

std::string place(const Program& program, int buffer) {
    const Buffer& b = program.buffers[static_cast<std::size_t>(buffer)];
    return fmt::format("{} {} @{}+{}", b.name, to_string(b.desc), name_of(b.space), b.offset);
}

}  // namespace

std::string listing(const Program& program) {
    static constexpr const char* modes[] = {"train", "evaluate", "predict"};
    std::string text = fmt::format(
        "# one step: mode {}, batch {}, {} steps, {:.2f} GFLOP, {:.1f} MB moved, arena {:.1f} MB\n"
        "# step  phase  branch  name | operation [implementation] | GFLOP  MB | waits for steps of other "
        "branches\n"
        "#   reads <- and writes -> : buffer [shape] type layout @space+offset in bytes\n",
        modes[static_cast<std::size_t>(program.key.mode)], program.key.batch, program.ops.size(),
        program.flops() / 1e9, program.bytes() / 1e6, static_cast<double>(program.arena_bytes) / 1e6);
    Phase phase = Phase::forward;
    for (std::size_t i = 0; i < program.ops.size(); ++i) {
        const ProgramOp& op = program.ops[i];
        if (i == 0 || op.phase != phase) text += fmt::format("\n== {}\n", name_of(op.phase));
        phase = op.phase;
        std::string waits;
        for (int wait : op.waits) waits += fmt::format(" {}", wait);
        text += fmt::format("{:4}  {:8}  {}  {} | {}{} [{}] | {:.3f}  {:.2f}{}{}\n", i, name_of(op.phase),
                            op.branch, op.name, name_of(op.desc.kind),
                            op.desc.two_levels ? " in two levels" : "", op.implementation, op.flops / 1e9,
                            op.bytes / 1e6, waits.empty() ? "" : " | waits", waits);
        for (int b : op.inputs) text += "        <- " + place(program, b) + "\n";
        for (int b : op.outputs) text += "        -> " + place(program, b) + "\n";
        if (op.workspace)
            text += fmt::format("        workspace {} bytes @arena+{}\n", op.workspace, op.workspace_offset);
    }
    return text;
}

}  // namespace onecycle
