#include "train/memory_need.h"

#include <fmt/format.h>

#include <algorithm>

#include "onecycle/error.h"
#include "train/learner_core.h"

namespace onecycle {

namespace {

constexpr int smallest_batch = 2;

std::uint64_t batches_need(int batch, int size) {
    const auto side = static_cast<std::uint64_t>(size);
    const std::uint64_t bytes = static_cast<std::uint64_t>(batch) * side * side * 3;
    return 2 * bytes * batches_ahead({.size = size, .batch_size = batch});  // training and evaluation
}

bool on_host(const LearnerCore& core) {
    return core.engine.device->kind() != DeviceKind::cuda;
}

std::uint64_t programs_need(const LearnerCore& core, const TrainStep& step, const Evaluator& evaluator) {
    return on_host(core) ? std::max(step.arena_bytes(), evaluator.arena_bytes()) : 0;
}

std::string in_gib(std::uint64_t bytes) {
    return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (std::uint64_t{1} << 30));
}

// The need with another batch, found by compiling for it.
std::uint64_t total_with(const LearnerCore& core, MemoryNeed need, int batch) {
    ProgramKey key = core.step.programs().front().key;
    key.batch = batch;
    const TrainStep step(core.network, core.state.layout(), *core.engine.backend, key);
    const Evaluator evaluator(core.network, core.state.layout(), *core.engine.backend,
                              program_key(core.options, core.network, batch));
    need.programs = programs_need(core, step, evaluator);
    need.batches = batches_need(batch, core.size());
    return need.total();
}

}  // namespace

MemoryNeed memory_need(const LearnerCore& core) {
    MemoryNeed need;
    std::uint64_t all = 0, saved = 0;
    for (int space = 0; space < static_cast<int>(space_count); ++space)
        all += core.state.bytes(static_cast<Space>(space));
    for (Space space : {Space::parameters, Space::statistics, Space::moment1, Space::moment2, Space::ema})
        saved += core.state.bytes(space);
    need.state = on_host(core) ? all : 0;
    need.copies = saved;
    need.programs = programs_need(core, core.step, core.evaluator);
    need.batches = batches_need(core.step.batch(), core.size());
    std::uint64_t largest = 0;
    for (const std::vector<Sample>* side : {&core.dataset.train, &core.dataset.valid})
        for (const Sample& sample : *side)
            largest = std::max(largest, std::uint64_t{3} * static_cast<std::uint64_t>(sample.width) *
                                            static_cast<std::uint64_t>(sample.height));
    need.decoding = largest * static_cast<std::uint64_t>(worker_threads(core.options.threads));
    need.images = core.store.training_bytes + core.store.evaluation_bytes;
    if (core.resident && on_host(core)) need.images += core.resident->bytes();
    return need;
}

void check_memory(const LearnerCore& core, std::uint64_t free) {
    const MemoryNeed need = memory_need(core);
    if (free > UINT64_MAX - need.state || need.total() <= free + need.state) return;
    const std::uint64_t room = free + need.state;
    // Less than in proportion: what does not grow with the batch is small.
    const std::uint64_t with_batch = need.programs + need.batches, rest = need.total() - with_batch;
    int batch = core.step.batch();
    if (rest < room)
        batch = static_cast<int>(static_cast<double>(batch) * static_cast<double>(room - rest) /
                                 static_cast<double>(with_batch));
    batch = std::min(batch, core.step.batch() - 1);
    while (batch >= smallest_batch && total_with(core, need, batch) > room)
        batch = std::min(batch - 1, batch * 7 / 8);
    throw Error(
        ErrorKind::device, "not enough memory",
        fmt::format("--batch-size {} with --size {}", core.options.batch_size, core.size()),
        fmt::format("training needs {} ({} for the network, {} for copies of it, {} for a step, {} for "
                    "batches and decoding, {} for images), {} are free",
                    in_gib(need.total()), in_gib(need.state), in_gib(need.copies), in_gib(need.programs),
                    in_gib(need.batches + need.decoding), in_gib(need.images), in_gib(room)),
        batch >= smallest_batch ? fmt::format("--batch-size {}", batch)
                                : "a smaller --size or --arch, or --input stream");
}

}  // namespace onecycle
