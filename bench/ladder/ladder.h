// What main.cpp knows of the ladder: a list of rungs, each of which does the same task.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/tensor.h"
#include "device/device.h"

namespace onecycle::ladder {

// Mean and biased variance of every channel of x. All pointers are to memory of the device.
struct Task {
    const void* x;  // [rows, channels], rows = N*H*W: NHWC
    std::int64_t rows;
    int channels;
    float* mean;      // [channels], written
    float* variance;  // [channels], written
    void* workspace;
};

struct Rung {
    const char* name;
    std::size_t (*workspace_bytes)(std::int64_t rows, int channels);
    void (*run)(const Task& task, Stream& stream);
};

// For numbers of this type, f32 or bf16: from the first thing that works to what the project ships.
std::vector<Rung> rungs_on_gpu(DType type);  // empty in a build without CUDA
std::vector<Rung> rungs_on_emulator(DType type);

}  // namespace onecycle::ladder
