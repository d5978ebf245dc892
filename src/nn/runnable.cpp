#include <algorithm>
#include <chrono>

#include "nn/program.h"
#include "onecycle/error.h"
#include "rules/half.h"

namespace onecycle {

namespace {

bool outlives_launch(Space space) {
    switch (space) {
        case Space::arena:
        case Space::input:
        case Space::gradients:
        case Space::half_gradients:
        case Space::gradient_sum:
        case Space::gradient_total:
        case Space::batch_statistics:
        case Space::statistics_sum:
        case Space::statistics_total:
            return false;
        default:
            return true;
    }
}

}  // namespace

Runnable::Runnable(Program& program, State& state, DeviceMemory& arena, bool ema, const DeviceMemory* input)
    : program_(&program),
      state_(&state),
      arena_(&arena),
      ema_(ema),
      own_input_(state.device(), input ? 0 : program.input_bytes),
      constant_(state.device(), program.class_weights >= 0
                                    ? program.buffers[static_cast<std::size_t>(program.class_weights)].bytes
                                    : 0),
      counts_(state.device(),
              program.counts >= 0 ? program.buffers[static_cast<std::size_t>(program.counts)].bytes : 0),
      input_(input ? input->data() : own_input_.data()) {
    if (arena.size() < program.arena_bytes)
        throw Error(ErrorKind::device, "cannot bind the program", "arena",
                    std::to_string(arena.size()) + " bytes are there, " +
                        std::to_string(program.arena_bytes) + " are needed");
    std::vector<ProgramPiece> work;
    inputs_.reserve(program.ops.size());  // the work keeps pointers into these
    outputs_.reserve(program.ops.size());
    for (std::size_t i = 0; i < program.ops.size(); ++i) {
        const ProgramOp& op = program.ops[i];
        const auto resolve = [&](const std::vector<int>& list) {
            std::vector<void*> pointers;
            for (int b : list) pointers.push_back(address(b));
            return pointers;
        };
        inputs_.push_back(resolve(op.inputs));
        outputs_.push_back(resolve(op.outputs));
        void* const* inputs = inputs_.back().data();
        void* const* outputs = outputs_.back().data();
        void* workspace = op.workspace ? arena.data() + op.workspace_offset : nullptr;
        Op* implementation = program.implementations[i].get();
        work.push_back(
            {.run = [implementation, inputs, outputs,
                     workspace](Stream& stream) { implementation->run(inputs, outputs, workspace, stream); },
             .branch = op.branch,
             .waits = op.waits});
    }
    for (std::size_t i = 0; i < work.size(); ++i)
        for (const int b : program.ops[i].outputs)
            work[i].lasting =
                work[i].lasting || outlives_launch(program.buffers[static_cast<std::size_t>(b)].space);
    launchable_ = state.device().prepare(std::move(work));
}

std::byte* Runnable::address(int buffer) const {
    const Buffer& b = program_->buffers[static_cast<std::size_t>(buffer)];
    std::byte* base = nullptr;
    switch (b.space) {
        case Space::arena:
            base = arena_->data();
            break;
        case Space::input:
            base = input_;
            break;
        case Space::constant:
            base = constant_.data();
            break;
        case Space::counts:
            base = counts_.data();
            break;
        case Space::parameters:
            base = state_->base(ema_ ? Space::ema : Space::parameters);
            break;
        case Space::half_parameters:
            base = state_->base(ema_ ? Space::half_ema : Space::half_parameters);
            break;
        case Space::statistics:
            base = ema_ ? state_->base(Space::ema) + state_->bytes(Space::parameters)
                        : state_->base(Space::statistics);
            break;
        default:
            base = state_->base(b.space);
    }
    if (!base)
        throw Error(ErrorKind::device, "cannot bind the program", b.name,
                    std::string("the state has no ") + name_of(b.space));
    return base + b.offset;
}

void Runnable::set_batch(const std::uint8_t* images, const std::int32_t* labels, int n) {
    Device& device = state_->device();
    const std::size_t rows = static_cast<std::size_t>(n),
                      batch = static_cast<std::size_t>(program_->key.batch);
    const std::size_t image_bytes =
        program_->buffers[static_cast<std::size_t>(program_->images)].bytes / batch;
    device.copy_in(address(program_->images), images, rows * image_bytes);
    if (program_->labels < 0) return;
    if (labels) device.copy_in(address(program_->labels), labels, rows * sizeof(std::int32_t));
    const std::int32_t count = n;
    device.copy_in(address(program_->count), &count, sizeof count);
}

void Runnable::set_class_weights(const std::vector<float>& weights) {
    state_->device().copy_in(constant_.data(), weights.data(),
                             std::min(weights.size() * sizeof(float), constant_.size()));
}

void Runnable::clear_counts() {
    const std::vector<std::byte> zeros(counts_.size());
    state_->device().copy_in(counts_.data(), zeros.data(), zeros.size());
}

void Runnable::run_eagerly(const std::function<void(int, double)>& observe) {
    Device& device = state_->device();
    for (std::size_t i = 0; i < program_->ops.size(); ++i) {
        const ProgramOp& op = program_->ops[i];
        const auto start = std::chrono::steady_clock::now();
        program_->implementations[i]->run(inputs_[i].data(), outputs_[i].data(),
                                          op.workspace ? arena_->data() + op.workspace_offset : nullptr,
                                          device.stream());
        device.synchronize();
        const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
        observe(static_cast<int>(i), taken.count());
    }
}

std::vector<double> Runnable::step_seconds() {
    std::vector<std::function<void(Stream&)>> pieces;
    for (std::size_t i = 0; i < program_->ops.size(); ++i) {
        const ProgramOp& op = program_->ops[i];
        void* workspace = op.workspace ? arena_->data() + op.workspace_offset : nullptr;
        pieces.push_back([this, i, workspace](Stream& stream) {
            program_->implementations[i]->run(inputs_[i].data(), outputs_[i].data(), workspace, stream);
        });
    }
    return state_->device().seconds(pieces);
}

BatchResult Runnable::read_result() const {
    BatchResult result;
    state_->device().copy_out(&result, address(program_->result), sizeof result);
    return result;
}

std::vector<std::unique_ptr<SideCopy>> Runnable::result_copies(int count) {
    std::vector<std::unique_ptr<SideCopy>> copies;
    for (int i = 0; i < count; ++i)
        copies.push_back(state_->device().make_side_copy({{address(program_->result), sizeof(BatchResult)}}));
    return copies;
}

std::vector<float> Runnable::read_probabilities(int n) const {
    const Buffer& buffer = program_->buffers[static_cast<std::size_t>(program_->probabilities)];
    std::vector<float> values(static_cast<std::size_t>(n * buffer.desc[1]));
    state_->device().copy_out(values.data(), address(program_->probabilities), values.size() * sizeof(float));
    return values;
}

std::vector<float> Runnable::read(int buffer) const {
    const TensorDesc& desc = program_->buffers[static_cast<std::size_t>(buffer)].desc;
    std::vector<float> stored(static_cast<std::size_t>(desc.stored_elements())),
        plain(static_cast<std::size_t>(desc.elements()));
    if (size_of(desc.type) == 2) {
        std::vector<std::uint16_t> half(stored.size());
        state_->device().copy_out(half.data(), address(buffer), desc.bytes());
        for (std::size_t i = 0; i < half.size(); ++i)
            stored[i] = desc.type == DType::bf16 ? to_float(bf16{half[i]}) : to_float(f16{half[i]});
    } else {
        state_->device().copy_out(stored.data(), address(buffer), desc.bytes());
    }
    to_plain(desc, stored.data(), plain.data());
    return plain;
}

}  // namespace onecycle
