// From uint8 images to what the network reads.
#pragma once

#include "kernels/cuda.h"

namespace onecycle::ONECYCLE_CUDA {

struct Normalization {
    float mean[3], stddev[3];
};

// x = (u8 / 255 - mean) / stddev, rounded once to T. `stored_channels` of a pixel of x: 3, or 8 of which the last
// five are zero (tensor cores want channels in eights).
template <typename T>
void normalize_images(T* x, const std::uint8_t* images, std::int64_t pixels, int stored_channels,
                      const Normalization& normalization, cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
