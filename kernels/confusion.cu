#include "kernels/confusion.h"

#include <cmath>

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 256, rows_of_block = threads / warp_lanes;

// A warp a row:
//   for i < count: { a = 0; for c in 1..C: if (x[i,c] > x[i,a]) a = c;  ++counts[label[i], a] }
// so that of equal logits the first wins and a NaN never beats what stands before it. In any order
// that is the first of the largest, where a NaN counts as the largest in place 0 and as the
// smallest elsewhere. Sums of integers do not depend on their order, so atomics are exact. Bytes
// moved: the logits once.
__global__ void __launch_bounds__(threads)
    count_confusion_kernel(std::int32_t* __restrict__ counts,        // [C,C]
                           const float* __restrict__ logits,         // [N,C]
                           const std::int32_t* __restrict__ labels,  // [N]
                           const std::int32_t* __restrict__ count, std::int64_t n, std::int64_t classes) {
    const std::int64_t valid = *count < n ? *count : n;
    const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * rows_of_block + threadIdx.x / warp_lanes;
    if (row >= valid) return;  // all lanes of the warp
    const int lane = threadIdx.x % warp_lanes;
    const float* const x = logits + row * classes;
    const auto value = [&](std::int64_t c) {
        const float v = x[c];
        return v == v ? v : c == 0 ? INFINITY : -INFINITY;
    };
    const auto better = [](float a, std::int64_t at, float b, std::int64_t bt) {
        return a > b || (a == b && at < bt);
    };
    float best = value(lane < classes ? lane : 0);
    std::int64_t answer = lane < classes ? lane : 0;
    for (std::int64_t c = lane + warp_lanes; c < classes; c += warp_lanes)
        if (const float v = value(c); better(v, c, best, answer)) {
            best = v;
            answer = c;
        }
    for (int lanes = warp_lanes / 2; lanes > 0; lanes /= 2) {
        const float v = __shfl_xor_sync(full_warp, best, lanes);
        const std::int64_t c = __shfl_xor_sync(full_warp, answer, lanes);
        if (better(v, c, best, answer)) {
            best = v;
            answer = c;
        }
    }
    if (lane == 0) atomicAdd(&counts[labels[row] * classes + answer], 1);
}

}  // namespace

void count_confusion(std::int32_t* counts, const float* logits, const std::int32_t* labels,
                     const std::int32_t* count, std::int64_t n, std::int64_t classes, cudaStream_t stream) {
    launch("count_confusion", count_confusion_kernel,
           {static_cast<unsigned>(divide_up(n, rows_of_block)), threads}, stream, counts, logits, labels,
           count, n, classes);
}

}  // namespace onecycle::ONECYCLE_CUDA
