// What the climbs know of the three ladders: lists of rungs, each of which does the same task.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/tensor.h"
#include "device/device.h"

namespace onecycle::ladder {

template <typename Task>
struct Rung {
    const char* name;
    std::size_t (*workspace_bytes)(const Task& task);
    void (*run)(const Task& task, Stream& stream);
};

// Mean and biased variance of every channel of x. All pointers are to memory of the device.
struct Statistics {
    const void* x;  // [rows, channels], rows = N*H*W: NHWC
    std::int64_t rows;
    int channels;
    float* mean;      // [channels], written
    float* variance;  // [channels], written
    void* workspace;
};

// The sums of a batch norm's backward pass, for every channel: of dy, and of dy (x - mean) /
// sqrt(variance + epsilon).
struct Gradients {
    static constexpr double epsilon = 1e-5;
    const void *x, *dy;  // [rows, channels]
    std::int64_t rows;
    int channels;
    const float *mean, *variance;  // [channels]
    float* sum_dy;                 // [channels], written
    float* sum_dy_xhat;            // [channels], written
    void* workspace;
};

// A convolution of 3 x 3, stride 1, with one pixel of padding around: y = conv(x, w).
struct Convolution {
    const void* x;  // [images, height, width, channels], f16
    const void* w;  // [outputs, 3, 3, channels], f16
    float* y;       // [images, height, width, outputs], written
    int images, height, width, channels, outputs;
    void* workspace;

    std::int64_t pixels() const { return std::int64_t{images} * height * width; }
};

// From the first thing that works to the last. Of the first two for numbers of this type, f32 or
// bf16; their last rung is what the project ships.
std::vector<Rung<Statistics>> statistics_on_gpu(DType type);  // empty in a build without CUDA
std::vector<Rung<Statistics>> statistics_on_emulator(DType type);
std::vector<Rung<Gradients>> gradients_on_gpu(DType type);
std::vector<Rung<Gradients>> gradients_on_emulator(DType type);
std::vector<Rung<Convolution>> convolution_on_gpu();
std::vector<Rung<Convolution>> convolution_on_emulator();

}  // namespace onecycle::ladder
