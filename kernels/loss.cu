// One block a row, of 32 to 256 threads by the number of classes; a row is small and comes from L1
// after its first pass. Numbers are float but for sums, which are double: a confident row's loss,
// log(1 + tiny), and the sum over rows keep their digits. All sums have an order that depends on N
// and C only.
#include "kernels/loss.h"

#include <cmath>

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int most_threads = 256;

// The largest over the block, NaNs left out; every thread gets it.
__device__ float block_max(float value) {
    ONECYCLE_SHARED(float, partial, warp_lanes);
    const auto warp_max = [](float v) {
        for (int lanes = warp_lanes / 2; lanes > 0; lanes /= 2)
            v = fmaxf(v, __shfl_xor_sync(full_warp, v, lanes));
        return v;
    };
    const int lane = threadIdx.x % warp_lanes, warp = threadIdx.x / warp_lanes,
              warps = blockDim.x / warp_lanes;
    value = warp_max(value);
    __syncthreads();  // the call before may still be read
    if (lane == 0) partial[warp] = value;
    __syncthreads();
    return warp_max(partial[lane < warps ? lane : 0]);
}

// Parallel loop of the block over [0, n).
template <typename F>
__device__ __forceinline__ void for_each(std::int64_t n, F f) {
    for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) f(i);
}

// Sum over i in [0, n) of f(i), by the whole block.
template <typename S, typename F>
__device__ __forceinline__ S sum_of(std::int64_t n, F f) {
    S sum = 0;
    for_each(n, [&](std::int64_t i) { sum += f(i); });
    return block_sum(sum);
}

__device__ float largest_of(const float* x, std::int64_t classes) {
    float largest = x[0];
    for_each(classes, [&](std::int64_t c) { largest = fmaxf(largest, x[c]); });
    return block_max(largest);
}

// torch.nn.functional.cross_entropy(reduction="mean"). Row i with label t wants the distribution
//   q[c] = v[c] ((1-s) [c = t] + s/C),   v: class weights, s: label smoothing, V = sum_i v[t_i]
// (of a pair of labels: the mean of the two q, and of the two v[t], by their shares)
// and gives, with m = max(x) and S = sum_c exp(x[c] - m),
//   loss_i     = sum_c q[c] (m - x[c] + log S)                         (the mean is sum_i loss_i / V)
//   dlogits[c] = (sum(q) exp(x[c] - m) / S - q[c]) / V
// Bytes moved: logits once, dlogits once. V and sum(v) are summed again by every block: N labels
// and C weights out of L2 cost less than a kernel more.
template <typename T>
__global__ void __launch_bounds__(most_threads)
    softmax_cross_entropy_kernel(RowResult* __restrict__ rows,             // [N]
                                 T* __restrict__ dlogits,                  // [N,C], or null
                                 const float* __restrict__ logits,         // [N,C]
                                 const std::int32_t* __restrict__ labels,  // [N]
                                 const std::int32_t* __restrict__ count,   // [1]
                                 const float* __restrict__ class_weights,  // [C], or null
                                 const StepControl* __restrict__ control,  // or null
                                 LabelPairs pairs, float smoothing, std::int64_t n, std::int64_t classes) {
    const std::int64_t row = blockIdx.x, valid = *count < n ? *count : n;
    const float* const x = logits + row * classes;
    T* const gradient = dlogits ? dlogits + row * classes : nullptr;
    if (row >= valid) {
        if (gradient) for_each(classes, [&](std::int64_t c) { gradient[c] = from_float<T>(0.0f); });
        return;
    }
    const std::int64_t label = labels[row], label2 = pairs.share ? pairs.labels2[row] : label;
    const double share = pairs.share ? pairs.share[row] : 1.0f;
    const std::int64_t judged = share < 0.5 ? label2 : label;
    const float target = x[judged], largest = largest_of(x, classes);
    const auto weight = [&](std::int64_t c) { return class_weights ? class_weights[c] : 1.0f; };
    const double sum = sum_of<double>(classes, [&](std::int64_t c) { return expf(x[c] - largest); });
    const std::int64_t rank = sum_of<std::int64_t>(
        classes, [&](std::int64_t c) { return x[c] > target || (x[c] == target && c < judged); });

    const double first = share * weight(label), second = share < 1 ? (1 - share) * weight(label2) : 0;
    const double unsmoothed = 1 - static_cast<double>(smoothing);
    const double hard = unsmoothed * first, hard2 = unsmoothed * second;
    const double soft = static_cast<double>(smoothing) / static_cast<double>(classes);
    double all_weights = static_cast<double>(classes), distance = 0;  // distance: sum of v (m - x)
    if (class_weights && (soft > 0 || gradient)) all_weights = sum_of<double>(classes, weight);
    if (soft > 0)
        distance = sum_of<double>(classes, [&](std::int64_t c) { return weight(c) * (largest - x[c]); });
    const double mass = hard + hard2 + soft * all_weights;  // sum(q)
    if (threadIdx.x == 0) {
        double loss = soft * distance + mass * log(sum);
        if (first > 0) loss += hard * (largest - x[label]);
        if (second > 0) loss += hard2 * (largest - x[label2]);
        rows[row] = {loss, first + second, target == target ? rank : classes};
    }
    if (!gradient) return;
    const double total = class_weights
                             ? sum_of<double>(valid,
                                              [&](std::int64_t i) {
                                                  const double v = weight(labels[i]);
                                                  if (!pairs.share) return v;
                                                  return v + (1 - static_cast<double>(pairs.share[i])) *
                                                                 (weight(pairs.labels2[i]) - v);
                                              })
                             : static_cast<double>(valid);
    const double scale = (control ? control->loss_scale : 1.0f) / total;
    const float of_exp = static_cast<float>(mass * scale / sum), of_soft = static_cast<float>(soft * scale),
                of_hard = static_cast<float>(hard * scale), of_hard2 = static_cast<float>(hard2 * scale);
    for_each(classes, [&](std::int64_t c) {
        const float wanted =
            of_soft * weight(c) + (c == label ? of_hard : 0.0f) + (c == label2 ? of_hard2 : 0.0f);
        gradient[c] = from_float<T>(expf(x[c] - largest) * of_exp - wanted);
    });
}

// result = sum of the rows in a fixed order; one block (which may have all registers), bytes moved:
// 24 N.
__global__ void __launch_bounds__(most_threads, 1)
    sum_rows_kernel(BatchResult* __restrict__ result, const RowResult* __restrict__ rows,  // [N]
                    const std::int32_t* __restrict__ count, std::int64_t n) {
    const std::int64_t valid = *count < n ? *count : n;
    const double loss = sum_of<double>(valid, [&](std::int64_t i) { return rows[i].loss; });
    const double weight = sum_of<double>(valid, [&](std::int64_t i) { return rows[i].weight; });
    const auto correct = sum_of<std::int64_t>(valid, [&](std::int64_t i) { return rows[i].rank == 0; });
    const auto correct5 = sum_of<std::int64_t>(valid, [&](std::int64_t i) { return rows[i].rank < 5; });
    if (threadIdx.x == 0) *result = {loss / weight, loss, weight, valid, correct, correct5};
}

// y[c] = exp(x[c] - m) / sum_c exp(x[c] - m). Bytes moved: logits once, probabilities once.
__global__ void __launch_bounds__(most_threads) softmax_kernel(float* __restrict__ probabilities,  // [N,C]
                                                               const float* __restrict__ logits,   // [N,C]
                                                               std::int64_t classes) {
    const float* const x = logits + blockIdx.x * classes;
    float* const y = probabilities + blockIdx.x * classes;
    const float largest = largest_of(x, classes);
    const double sum = sum_of<double>(classes, [&](std::int64_t c) { return expf(x[c] - largest); });
    const auto scale = static_cast<float>(1 / sum);
    for_each(classes, [&](std::int64_t c) { y[c] = expf(x[c] - largest) * scale; });
}

// About four classes a thread, in whole warps.
LaunchShape block_a_row(std::int64_t n, std::int64_t classes) {
    const std::int64_t threads = divide_up(classes, 4 * warp_lanes) * warp_lanes;
    return {static_cast<unsigned>(n), static_cast<unsigned>(threads < most_threads ? threads : most_threads)};
}

}  // namespace

template <typename T>
void softmax_cross_entropy(BatchResult* result, T* dlogits, RowResult* rows, const float* logits,
                           const std::int32_t* labels, const std::int32_t* count, const float* class_weights,
                           const StepControl* control, const LabelPairs& pairs, float label_smoothing,
                           std::int64_t n, std::int64_t classes, cudaStream_t stream) {
    launch("softmax_cross_entropy", softmax_cross_entropy_kernel<T>, block_a_row(n, classes), stream, rows,
           dlogits, logits, labels, count, class_weights, control, pairs, label_smoothing, n, classes);
    launch("sum_rows", sum_rows_kernel, {1, most_threads}, stream, result, rows, count, n);
}

void softmax(float* probabilities, const float* logits, std::int64_t n, std::int64_t classes,
             cudaStream_t stream) {
    launch("softmax", softmax_kernel, block_a_row(n, classes), stream, probabilities, logits, classes);
}

#define ONECYCLE_INSTANTIATE(T)                                                                             \
    template void softmax_cross_entropy<T>(                                                                 \
        BatchResult*, T*, RowResult*, const float*, const std::int32_t*, const std::int32_t*, const float*, \
        const StepControl*, const LabelPairs&, float, std::int64_t, std::int64_t, cudaStream_t);
ONECYCLE_INSTANTIATE(float)
ONECYCLE_INSTANTIATE(bf16)
ONECYCLE_INSTANTIATE(f16)

}  // namespace onecycle::ONECYCLE_CUDA
