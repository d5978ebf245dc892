// How kernels walk the flat buffers of weights, gradients and moments: in pieces, each of one
// parameter, each piece by one block. The table of parameters travels in the kernel's arguments,
// which the GPU keeps in constant memory: it changes only with the program, so it needs no memory
// and no upload of its own, and a captured graph keeps it.
#pragma once

#include "kernels/cuda.h"

namespace onecycle::ONECYCLE_CUDA {

// One parameter that is trained. Offsets in flat buffers are multiples of 128 elements (ops.h:
// segment_alignment).
struct FlatSegment {
    std::uint32_t offset128;   // where it begins, in 128 elements
    std::uint32_t elements;    // without padding
    std::int32_t first_piece;  // the pieces of the segments before it
    std::int32_t parameter;    // its index
    double lr_multiplier;
    float decay_multiplier;
    bool half, half_gradient;  // a 16-bit copy is kept; the gradient comes in 16 bits
};

// By offset. All trained parameters of a network; ResNet152 has 467.
struct FlatTable {
    static constexpr int capacity = 512;
    std::int32_t segments, pieces;
    FlatSegment segment[capacity];
};
static_assert(sizeof(FlatTable) < 30000, "kernels take at most 32764 bytes of arguments");

// The segment of a piece.
__device__ inline int segment_of(const FlatTable& table, int piece) {
    int low = 0, high = table.segments;  // first_piece[low] <= piece < first_piece[high]
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (table.segment[middle].first_piece <= piece)
            low = middle;
        else
            high = middle;
    }
    return low;
}

// Four elements, moved by one instruction: 16 bytes of floats, 8 of 16-bit numbers.
template <typename T>
struct alignas(4 * sizeof(T)) Quad {
    T v[4];
};

template <typename T>
__device__ __forceinline__ Quad<T> load_quad(const T* from) {
    return load_whole<Quad<T>>(from);
}
template <typename T>
__device__ __forceinline__ Quad<float> load_quad_as_floats(const T* from) {
    const Quad<T> stored = load_quad(from);
    return {to_float(stored.v[0]), to_float(stored.v[1]), to_float(stored.v[2]), to_float(stored.v[3])};
}
// The first `valid` elements only: padding stays as it is.
template <typename T>
__device__ __forceinline__ void store_quad(T* to, const Quad<T>& value, int valid) {
    if (valid == 4) {
        store_whole(to, value);
        return;
    }
    // Written out: a loop of `valid` rounds would take its elements by a number that varies, which
    // registers cannot.
    if (valid > 0) to[0] = value.v[0];
    if (valid > 1) to[1] = value.v[1];
    if (valid > 2) to[2] = value.v[2];
}

// Part of the flat buffers: `at` is its first element. Four can be loaded when `valid` is above 0:
// that many are the parameter's, the others are padding.
struct FlatQuad {
    std::int64_t at;
    int valid;
};

// The quad at element i of a piece, for pieces of so many elements.
__device__ __forceinline__ FlatQuad quad_at(const FlatSegment& segment, int piece, int piece_elements,
                                            int i) {
    const std::int64_t begin = std::int64_t{piece - segment.first_piece} * piece_elements + i;
    const std::int64_t rest = segment.elements - begin;
    return {segment.offset128 * std::int64_t{128} + begin, static_cast<int>(rest < 4 ? rest : 4)};
}

// The gradient as floats, from the buffer that it comes in.
template <typename Half>
__device__ __forceinline__ Quad<float> load_gradient(const FlatSegment& segment, const float* gradients,
                                                     const Half* half_gradients, std::int64_t at) {
    return segment.half_gradient ? load_quad_as_floats(half_gradients + at) : load_quad(gradients + at);
}

}  // namespace onecycle::ONECYCLE_CUDA
