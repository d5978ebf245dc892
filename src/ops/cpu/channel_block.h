// Blocks of channels, the unit of blocked layouts: what the own convolutions compute with.
#pragma once

#include "core/tensor.h"
#include "ops/cpu/simd.h"

namespace onecycle::cpu {

// Channels in a block of this layout of activations or weights; 0: it is not blocked in all its
// channels.
inline int block_of(Layout layout) {
    switch (layout) {
        case Layout::nChw8c:
        case Layout::OIhw8i8o:
            return 8;
        case Layout::nChw16c:
        case Layout::OIhw16i16o:
            return 16;
        default:
            return 0;
    }
}

// A block of channels at one pixel: sixteen floats only where registers are as wide.
template <int block>
struct Vector;
template <>
struct Vector<8> {
    typedef float type __attribute__((vector_size(32)));
    typedef float unaligned __attribute__((vector_size(32), aligned(4)));
};
template <>
struct Vector<16> {
    typedef float type __attribute__((vector_size(64)));
    typedef float unaligned __attribute__((vector_size(64), aligned(4)));
};

template <int block>
ONECYCLE_INLINE typename Vector<block>::type load(const float* p) {
    return *reinterpret_cast<const typename Vector<block>::unaligned*>(p);
}
template <int block, typename V>
ONECYCLE_INLINE void store(float* p, const V& v) {
    *reinterpret_cast<typename Vector<block>::unaligned*>(p) = v;
}

// The blocks [i][o] of `taps` window positions of a filter as [o][i], the positions in reverse:
// what turns forward into backward data.
template <int block>
ONECYCLE_INLINE void turn_filter(const float* from, int taps, float* to) {
    for (int tap = 0; tap < taps; ++tap)
        for (int r = 0; r < block; ++r)
            for (int c = 0; c < block; ++c)
                to[(tap * block + c) * block + r] = from[((taps - 1 - tap) * block + r) * block + c];
}

}  // namespace onecycle::cpu
