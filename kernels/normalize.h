// One pixel of what the network reads, from bytes: input.cu has whole images, augment.cu views that
// it has just made.
#pragma once

#include "kernels/input.h"

namespace onecycle::ONECYCLE_CUDA {

// x[pixel][c] = (rgb[c] / 255 - mean[c]) / stddev[c] for c < 3, else 0. The divisions round as the
// CPU back end's do, so f32 values are equal to its values bit for bit. Eight channels of 16 bits
// leave as one vector.
template <typename T, int stored>
__device__ __forceinline__ void store_normalized(T* __restrict__ x,  // [pixels, stored]
                                                 std::int64_t pixel,
                                                 const std::uint8_t* __restrict__ rgb,  // [3]
                                                 const Normalization& n) {
    T out[stored];
#pragma unroll
    for (int c = 0; c < stored; ++c) out[c] = from_float<T>(0.0f);
#pragma unroll
    for (int c = 0; c < 3; ++c)
        out[c] = from_float<T>((static_cast<float>(rgb[c]) / 255.0f - n.mean[c]) / n.stddev[c]);
    if constexpr (stored % Vec<T>::size == 0) {
#pragma unroll
        for (int c = 0; c < stored; c += Vec<T>::size) {
            Vec<T> vector;
#pragma unroll
            for (int k = 0; k < Vec<T>::size; ++k) vector.v[k] = out[c + k];
            store_vec(x + stored * pixel + c, vector);
        }
    } else {
#pragma unroll
        for (int c = 0; c < stored; ++c) x[stored * pixel + c] = out[c];
    }
}

}  // namespace onecycle::ONECYCLE_CUDA
