// From uint8 images to what the network reads.
#pragma once

#include "kernels/cuda.h"
#include "rules/control.h"

namespace onecycle::ONECYCLE_CUDA {

struct Normalization {
    float mean[3], stddev[3];
};

// x = (u8 / 255 - mean) / stddev, rounded once to T. `stored_channels` of a pixel of x: 3, or 8 of
// which the last five are zero (tensor cores want channels in eights).
template <typename T>
void normalize_images(T* x, const std::uint8_t* images, std::int64_t pixels, int stored_channels,
                      const Normalization& normalization, cudaStream_t stream);

// Batches that the host has handed over, each in a slot: pixels, then at these bytes labels and
// count.
struct BatchSlots {
    const std::uint8_t* first;
    std::int64_t bytes, labels, count;  // of a slot; where they begin in it
    int slots, accumulation;
};

// normalize_images of the batch that is due, slot (control->update * accumulation + control->micro)
// % slots, and its labels and count.
template <typename T>
void take_batch(T* x, std::int32_t* labels, std::int32_t* count, const BatchSlots& slots,
                const StepControl* control, std::int64_t batch, std::int64_t pixels, int stored_channels,
                const Normalization& normalization, cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
