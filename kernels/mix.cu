#include "kernels/mix.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 256, vectors_a_thread = 8;

// The elements of one image that come from a box of the other: rows [top, bottom), in each the
// elements [left, right).
struct Box {
    int left, right, top, bottom;
    __device__ bool contains(int row, int at) const {
        return row >= top && row < bottom && at >= left && at < right;
    }
};

__device__ Box box_of(const MixDraw& draw, int channels) {
    return {draw.box.x * channels, (draw.box.x + draw.box.width) * channels, draw.box.y,
            draw.box.y + draw.box.height};
}

// Plain-loop equivalent, for i < n with j = *count - 1 - i and draw = rule.draw(...) of i:
//   labels2[i] = labels[j], weight[i] = draw.weight;      for each pixel p and channel c:
//   x[i][p][c] = draw.cut ? (p in draw.box ? x[j][p][c] : x[i][p][c])
//                         : draw.weight x[i][p][c] + (1 - draw.weight) x[j][p][c]
// with the x of before. (Zhang et al. 2018, Yun et al. 2019; see rules/mix_rules.h.) Bytes: x read
// and written once, under cutmix only the vectors that a box touches. A thread holds the same
// elements of both images of a pair, so they change in place; a block has a part of one pair, and
// draws for it: 20 rounds of Philox, and nothing is kept in memory. The rule with its tables
// travels in the kernel's arguments, as flat.h's table does.
template <typename T>
__global__ void __launch_bounds__(threads)
    mix_batch_kernel(T* __restrict__ x,                        // [n, height, row]
                     std::int32_t* __restrict__ labels2,       // [n]
                     float* __restrict__ weight,               // [n]
                     const std::int32_t* __restrict__ labels,  // [n]
                     const std::int32_t* __restrict__ count,   // [1]
                     const StepControl* __restrict__ control, MixRule rule, int n, int height, int width,
                     int channels, int parts) {
    constexpr int size = Vec<T>::size;
    ONECYCLE_SHARED(MixDraw, draws, 2);
    const int pair = static_cast<int>(blockIdx.x) / parts, part = static_cast<int>(blockIdx.x) % parts,
              pairs = static_cast<int>(gridDim.x) / parts, t = static_cast<int>(threadIdx.x);
    const int valid = *count < n ? *count : n;
    const int i = pair, j = valid - 1 - pair;
    if (part == 0 && t == 0) {
        if (i == j) labels2[i] = labels[i], weight[i] = 1;
        for (int place = valid + pair; place < n; place += pairs)  // no samples
            labels2[place] = labels[place], weight[place] = 1;
    }
    if (i >= j) return;
    if (t < 2) {
        const int own = t == 0 ? i : j, other = t == 0 ? j : i;
        const MixDraw draw = rule.draw(*control, own, height, width);
        draws[t] = draw;
        if (part == 0) {
            const std::int32_t label = labels[other];
            labels2[own] = label;
            weight[own] = draw.weight;
        }
    }
    __syncthreads();
    const MixDraw first = draws[0], second = draws[1];
    const Box box1 = box_of(first, channels), box2 = box_of(second, channels);
    const bool boxes_only = first.cut && second.cut;
    const int row = width * channels, elements = height * row;
    T* const a = x + static_cast<std::int64_t>(i) * elements;
    T* const b = x + static_cast<std::int64_t>(j) * elements;
    // Images whose elements are no whole vectors do not all begin at one: rare sizes, an element at
    // a time.
    if (elements % size != 0) {
        for (int e = part * threads + t; e < elements; e += parts * threads) {
            const int y = e / row, at = e - y * row;
            const float u = to_float(a[e]), v = to_float(b[e]);
            const float mixed1 = first.mixed(u, v, box1.contains(y, at)),
                        mixed2 = second.mixed(v, u, box2.contains(y, at));
            a[e] = from_float<T>(mixed1);
            b[e] = from_float<T>(mixed2);
        }
        return;
    }
    for (int e = (part * threads + t) * size; e < elements; e += parts * threads * size) {
        int y = e / row, at = e - y * row;
        unsigned in1 = 0, in2 = 0;  // a bit an element
#pragma unroll
        for (int k = 0; k < size; ++k) {
            in1 |= static_cast<unsigned>(box1.contains(y, at)) << k;
            in2 |= static_cast<unsigned>(box2.contains(y, at)) << k;
            if (++at == row) at = 0, ++y;
        }
        if (boxes_only && !(in1 | in2)) continue;
        Vec<T> u = load_vec(a + e), v = load_vec(b + e);
#pragma unroll
        for (int k = 0; k < size; ++k) {
            const float own = to_float(u.v[k]), other = to_float(v.v[k]);
            u.v[k] = from_float<T>(first.mixed(own, other, in1 >> k & 1));
            v.v[k] = from_float<T>(second.mixed(other, own, in2 >> k & 1));
        }
        store_vec(a + e, u);
        store_vec(b + e, v);
    }
}

}  // namespace

template <typename T>
void mix_batch(T* x, std::int32_t* labels2, float* weight, const std::int32_t* labels,
               const std::int32_t* count, const StepControl* control, const MixRule& rule, std::int64_t n,
               int height, int width, int channels, cudaStream_t stream) {
    const std::int64_t vectors = divide_up(std::int64_t{height} * width * channels, Vec<T>::size),
                       parts = divide_up(vectors, threads * vectors_a_thread), pairs = divide_up(n, 2);
    launch("mix_batch", mix_batch_kernel<T>, {static_cast<unsigned>(pairs * parts), threads}, stream, x,
           labels2, weight, labels, count, control, rule, static_cast<int>(n), height, width, channels,
           static_cast<int>(parts));
}

#define ONECYCLE_INSTANTIATE(T)                                                                     \
    template void mix_batch<T>(T*, std::int32_t*, float*, const std::int32_t*, const std::int32_t*, \
                               const StepControl*, const MixRule&, std::int64_t, int, int, int,     \
                               cudaStream_t);
ONECYCLE_INSTANTIATE(float)
ONECYCLE_INSTANTIATE(bf16)
ONECYCLE_INSTANTIATE(f16)

}  // namespace onecycle::ONECYCLE_CUDA
