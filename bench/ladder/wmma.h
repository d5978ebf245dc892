// The words of CUDA for tensor cores, nvcuda::wmma: from CUDA's mma.h for nvcc, and here for the
// emulator, as far as the ladder uses them: m16n16k16, f16 operands of which 16 numbers lie side by
// side, float sums.
//
// A fragment is a matrix spread over the 32 lanes of a warp. How CUDA spreads it is not documented,
// and no kernel may depend on that. Here lane l has half of line l / 2, eight neighbours: of a
// matrix_a and of the sums a line is a row, of a matrix_b a column.
#pragma once

#include "kernels/cuda.h"

#if defined(ONECYCLE_EMULATED)

namespace onecycle::emulated {
using TensorHalf = f16;
}

namespace nvcuda::wmma {

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
struct col_major {};
enum layout_t { mem_row_major, mem_col_major };

template <typename Use, int m, int n, int k, typename T, typename Layout = void>
struct fragment {
    static_assert(m == 16 && n == 16 && k == 16, "the one shape that is emulated");
    static constexpr int num_elements = 8;
    T x[num_elements];
};

using Half = onecycle::emulated::TensorHalf;
using Left = fragment<matrix_a, 16, 16, 16, Half, row_major>;
using Right = fragment<matrix_b, 16, 16, 16, Half, col_major>;
using Sums = fragment<accumulator, 16, 16, 16, float>;

// Where this lane's numbers of a matrix begin, whose lines are `pitch` apart.
template <typename T>
T* part_of_lane(T* matrix, unsigned pitch) {
    const auto lane = static_cast<unsigned>(onecycle::emulated::self->lane);
    return matrix + lane / 2 * pitch + lane % 2 * 8;
}

template <typename Fragment, typename T>
void fill_fragment(Fragment& f, T value) {
    for (auto& x : f.x) x = value;
}

// All lanes of the warp must arrive, here and in every word below.
template <typename Use, typename Layout>
void load_matrix_sync(fragment<Use, 16, 16, 16, Half, Layout>& f, const Half* from, unsigned pitch) {
    static_assert(std::is_same_v<decltype(f), Left&> || std::is_same_v<decltype(f), Right&>);
    onecycle::emulated::__syncwarp();
    const auto values = onecycle::emulated::load_vec(part_of_lane(from, pitch));
    for (int i = 0; i < f.num_elements; ++i) f.x[i] = values.v[i];
}

inline void store_matrix_sync(float* to, const Sums& f, unsigned pitch, layout_t layout) {
    using namespace onecycle::emulated;
    __syncwarp();
    for (int i = 0; i < f.num_elements; i += 4) {
        const Vec<float> values{{f.x[i], f.x[i + 1], f.x[i + 2], f.x[i + 3]}};
        if (layout == mem_row_major) {
            store_vec(part_of_lane(to, pitch) + i, values);
        } else {
            const auto row = static_cast<unsigned>(self->lane) / 2,
                       column = static_cast<unsigned>(self->lane % 2 * 8 + i);
            for (unsigned j = 0; j < 4; ++j) to[(column + j) * pitch + row] = values.v[j];
        }
    }
}

// d = a b + c. A lane computes eight sums of one row: it takes that row of a from itself and its
// neighbour, and each column of b from the two lanes that have it.
inline void mma_sync(Sums& d, const Left& a, const Right& b, const Sums& c) {
    using namespace onecycle::emulated;
    struct Line {
        float v[16];
    };
    const auto line_of = [](const Half(&x)[8], int line) {
        struct Four {
            Half v[4];
        };
        Line to;
        for (int part = 0; part < 4; ++part) {  // a lane gives eight bytes at a time
            Four four;
            for (int i = 0; i < 4; ++i) four.v[i] = x[part % 2 * 4 + i];
            four = __shfl_sync(full_warp, four, 2 * line + part / 2);
            for (int i = 0; i < 4; ++i) to.v[4 * part + i] = onecycle::to_float(four.v[i]);
        }
        return to;
    };
    d = c;
    const Line row = line_of(a.x, self->lane / 2);
    for (int i = 0; i < 8; ++i) {
        const Line column = line_of(b.x, self->lane % 2 * 8 + i);
        for (int k = 0; k < 16; ++k) d.x[i] = fmaf(row.v[k], column.v[k], d.x[i]);
    }
}

}  // namespace nvcuda::wmma

#else

#include <mma.h>

namespace onecycle::cuda {
using TensorHalf = __half;
}

#endif
