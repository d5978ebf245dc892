#include "kernels/dropout.h"

#include "kernels/flat.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 256;

// for i: y[i] = x[i] * (number i is kept ? scale : 0), Srivastava et al. 2014 in its inverted form.
// Bytes moved: x and y once; a stored mask would be a third of that again, and ten rounds of Philox
// for four elements cost less. A thread takes four neighbours: one block of random numbers, and one
// load and store in float.
template <typename T>
__global__ void __launch_bounds__(threads)
    dropout_kernel(T* __restrict__ y,        // [n]
                   const T* __restrict__ x,  // [n]
                   const StepControl* __restrict__ control, DropoutRule rule, std::int64_t n) {
    const RandomStream numbers = rule.numbers(*control);
    const std::int64_t quads = (n + 3) / 4, stride = std::int64_t{gridDim.x} * threads;
    for (std::int64_t q = std::int64_t{blockIdx.x} * threads + threadIdx.x; q < quads; q += stride) {
        const PhiloxBlock random = numbers.block(static_cast<std::uint32_t>(q));
        const std::int64_t left = n - 4 * q;
        if (left >= 4) {
            Quad<T> value = load_quad(x + 4 * q);
#pragma unroll
            for (int k = 0; k < 4; ++k)
                value.v[k] = from_float<T>(to_float(value.v[k]) * rule.factor(random.word[k]));
            store_quad(y + 4 * q, value, 4);
        } else {
            for (int k = 0; k < static_cast<int>(left); ++k)
                y[4 * q + k] = from_float<T>(to_float(x[4 * q + k]) * rule.factor(random.word[k]));
        }
    }
}

}  // namespace

template <typename T>
void dropout(T* y, const T* x, const StepControl* control, const DropoutRule& rule, std::int64_t n,
             cudaStream_t stream) {
    const std::int64_t blocks = divide_up(divide_up(n, 4), threads);
    launch("dropout", dropout_kernel<T>, {static_cast<unsigned>(blocks < 4096 ? blocks : 4096), threads},
           stream, y, x, control, rule, n);
}

#define ONECYCLE_INSTANTIATE(T)                                                                  \
    template void dropout<T>(T*, const T*, const StepControl*, const DropoutRule&, std::int64_t, \
                             cudaStream_t);
ONECYCLE_INSTANTIATE(float)
ONECYCLE_INSTANTIATE(bf16)
ONECYCLE_INSTANTIATE(f16)

}  // namespace onecycle::ONECYCLE_CUDA
