#include "train/memory_need.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "data/decode_budget.h"
#include "onecycle/error.h"
#include "train/learner_core.h"

namespace onecycle {

namespace {

constexpr int smallest_batch = 2;  // batch norm needs two

// Of what is free, left for what other programs take between an error and the next try.
constexpr std::uint64_t spare_share = 32;

std::uint64_t arena_need(const LearnerCore& core, int batch) {
    const bool own = batch == core.step.batch();
    std::uint64_t bytes = 0;
    const auto count = [&](std::uint64_t more) { bytes = std::max(bytes, more); };
    if (own) count(std::max(core.step.arena_bytes(), core.evaluator.arena_bytes()));
    const std::vector<Stage> stages = stages_of(core.options, core.network);
    const ProgramKey& present = core.step.programs().front().key;
    for (const Stage& stage : stages) {
        if (own && present.frozen == stage.frozen && present.group_rates == stage.group_rates) continue;
        const ProgramKey key = core.with_input(program_key(core.options, batch, stage));
        count(TrainStep(core.network, core.state.layout(), *core.engine.backend, key).arena_bytes());
    }
    if (!own)
        count(Evaluator(core.network, core.state.layout(), *core.engine.backend,
                        program_key(core.options, core.network, batch))
                  .arena_bytes());
    return bytes;
}

// With --accumulate a step takes several batches, and hands over some ahead.
std::uint64_t batches_need(const LearnerCore& core, int batch) {
    const auto size = static_cast<std::uint64_t>(core.size());
    const std::uint64_t bytes = size * size * 3 * static_cast<std::uint64_t>(batch);
    const std::uint64_t ahead = batches_ahead({.size = core.size(), .batch_size = batch});
    const std::uint64_t loaders = core.step.takes_batches() ? 2 : 1;
    const auto slots = static_cast<std::uint64_t>(core.step.programs().front().key.input_slots);
    // A slot lies on the device and once more on the host.
    const std::uint64_t places = core.engine.device->kind() == DeviceKind::cuda ? 1 : 2;
    return bytes * (ahead * loaders + slots * places);
}

// 0: none fits.
int largest_batch(const LearnerCore& core, std::uint64_t room) {
    int fits = smallest_batch - 1, too_large = core.step.batch();
    while (too_large - fits > 1) {
        const int middle = fits + (too_large - fits) / 2;
        (memory_need(core, middle).total() <= room ? fits : too_large) = middle;
    }
    return fits < smallest_batch ? 0 : fits;
}

}  // namespace

std::string memory_text(std::uint64_t bytes) {
    constexpr double mebi = 1 << 20;
    const double size = static_cast<double>(bytes) / mebi;
    return size < 1024 ? fmt::format("{:.0f} MiB", size) : fmt::format("{:.1f} GiB", size / 1024);
}

MemoryNeed memory_need(const LearnerCore& core, int batch) {
    MemoryNeed need{.batches = batches_need(core, batch)};
    for (const Space space :
         {Space::control, Space::parameters, Space::statistics, Space::moment1, Space::moment2, Space::ema})
        need.copies += core.state.bytes(space);
    if (core.engine.device->kind() != DeviceKind::cuda) {
        need.state = need.copies;
        need.arena = arena_need(core, batch);
        if (core.resident) need.resident = core.resident->bytes();
    }
    for (const auto* samples : {&core.dataset.train, &core.dataset.valid})
        for (const Sample& sample : *samples)
            need.decoding =
                std::max(need.decoding, std::uint64_t{3} * static_cast<std::uint64_t>(sample.width) *
                                            static_cast<std::uint64_t>(sample.height));
    // Each thread decodes one, as far as the budget lets them.
    need.decoding = std::min(need.decoding * static_cast<std::uint64_t>(worker_threads(core.options.threads)),
                             core.dataset.decode_budget->bytes());
    return need;
}

void require_memory(const LearnerCore& core, const MemoryNeed& need, std::uint64_t free) {
    if (need.total() <= free) return;
    const int batch = largest_batch(core, free - free / spare_share);
    throw Error(ErrorKind::device, "not enough memory", fmt::format("--batch-size {}", core.step.batch()),
                fmt::format("the training needs {}, {} free (activations {}, state {} and {} to save it, "
                            "batches {}, images {})",
                            memory_text(need.total()), memory_text(free), memory_text(need.arena),
                            memory_text(need.state), memory_text(need.copies), memory_text(need.batches),
                            memory_text(need.decoding + need.resident)),
                batch ? fmt::format("--batch-size {}", batch)
                      : "use a smaller --size or --arch, or end other programs");
}

}  // namespace onecycle
