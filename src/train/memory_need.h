// What a training takes of the host's memory, added up before its first step.
#pragma once

#include <cstdint>
#include <string>

namespace onecycle {

struct LearnerCore;

// "120 MiB", "3.1 GiB"
std::string memory_text(std::uint64_t bytes);

// Bytes. On a GPU `arena`, `state` and `resident` are 0: they lie in its own memory. Kept images
// are not among them: the image store takes a share of what these leave free.
struct MemoryNeed {
    std::uint64_t arena = 0;     // activations and workspaces of the largest program of any stage
    std::uint64_t state = 0;     // parameters, statistics, moments, averages
    std::uint64_t resident = 0;  // the training images, where the device keeps them
    std::uint64_t copies = 0;    // of the state: what a checkpoint is written from
    std::uint64_t batches = 0;   // those that both loaders make ahead, and those handed over
    std::uint64_t decoding = 0;  // the largest image on every thread, within the budget

    std::uint64_t total() const { return arena + state + resident + copies + batches + decoding; }
};

// Compiles the programs of this batch size where the learner has others.
MemoryNeed memory_need(const LearnerCore& core, int batch);

// Throws Error(io) when the learner's batch size needs more than `free` bytes. The message names
// the largest batch size whose need fits, with a little to spare since `free` moves; where none
// does, what else makes the need smaller.
void require_memory(const LearnerCore& core, const MemoryNeed& need, std::uint64_t free);

}  // namespace onecycle
