// What a training takes of the host's memory, added up before its first step: a training that would
// be killed in its first epoch is better refused before.
#pragma once

#include <cstdint>
#include <string>

namespace onecycle {

struct LearnerCore;

// Bytes.
struct MemoryNeed {
    std::uint64_t state = 0;     // weights, moments, statistics; allocated by now
    std::uint64_t copies = 0;    // of the state: for a checkpoint, or to put it back after a range test
    std::uint64_t programs = 0;  // the arena
    std::uint64_t batches = 0;   // in the loaders
    std::uint64_t decoding = 0;  // the largest image, once a thread
    std::uint64_t images = 0;    // kept decoded

    std::uint64_t total() const { return state + copies + programs + batches + decoding + images; }
};

// Of the host: on a GPU neither the state nor the programs.
MemoryNeed memory_need(const LearnerCore& core);

// Throws Error(device) where what is not allocated yet is more than `free` bytes: with the sum, and
// with the largest batch found that fits.
void check_memory(const LearnerCore& core, std::uint64_t free);

}  // namespace onecycle
