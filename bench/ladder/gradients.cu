// A ladder of five kernels for the reduction of a batch norm's backward pass. Read statistics.cu
// first: this is the same climb with a second tensor, and what is new is said here. For each
// channel c, with r[c] = 1 / sqrt(variance[c] + epsilon):
//
//     for each row:  sum_dy[c] += dy[row][c],  sum_dy_xhat[c] += dy[row][c] (x[row][c] - mean[c]) r[c]
//
// They are the gradients of beta and gamma, and the gradient of x is made of them. Four operations
// are enough for each pair of numbers: one FLOP a byte in bf16, where a GPU could do hundreds. The
// least time is the time to read x and dy once.
#include "bench/ladder/ladder.h"
#include "device/cuda/stream.h"
#include "kernels/batch_norm_backward_passes.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 256;  // of a block
constexpr int warps = threads / warp_lanes;

__device__ float deviation_inverse(const float* variance, int c) {
    return 1 / sqrtf(variance[c] + static_cast<float>(ladder::Gradients::epsilon));
}

// --- 1. A thread a channel ---
//
// The loop as it stands in the formula. Beside too few threads it has a new fault: mean, variance,
// a root and a division come again for every row, though they are those of the channel. A compiler
// cannot know that: sum_dy might be the same memory as mean.
// Bytes: x and dy once. FLOPs: 8 for each pair of numbers.
// Lesson: what does not change in a loop does not belong there.

template <typename T>
__global__ void __launch_bounds__(threads) thread_a_channel_kernel(float* sum_dy,          // [C]
                                                                   float* sum_dy_xhat,     // [C]
                                                                   const T* x,             // [rows, C]
                                                                   const T* dy,            // [rows, C]
                                                                   const float* mean,      // [C]
                                                                   const float* variance,  // [C]
                                                                   std::int64_t rows, int channels) {
    const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (c >= channels) return;
    sum_dy[c] = 0;
    sum_dy_xhat[c] = 0;
    for (std::int64_t r = 0; r < rows; ++r) {
        const float xhat = (to_float(x[r * channels + c]) - mean[c]) * deviation_inverse(variance, c);
        const float g = to_float(dy[r * channels + c]);
        sum_dy[c] += g;
        sum_dy_xhat[c] += g * xhat;
    }
}

template <typename T>
void thread_a_channel(const ladder::Gradients& t, cudaStream_t stream) {
    launch("gradients_thread_a_channel", thread_a_channel_kernel<T>,
           {static_cast<unsigned>(divide_up(t.channels, threads)), threads}, stream, t.sum_dy, t.sum_dy_xhat,
           static_cast<const T*>(t.x), static_cast<const T*>(t.dy), t.mean, t.variance, t.rows, t.channels);
}

// --- 2. A block a channel ---
//
// 256 threads a channel, and sums in registers. The mean is subtracted before the product: sum(dy
// x) - mean sum(dy) would be the same on paper and need no mean in the loop, but it is a small
// difference of large numbers where the mean is far from zero. r is a factor of the whole sum, and
// is applied once. A warp reads 32 rows of one channel, twice: 64 pieces of 32 bytes for 64
// numbers.
// Bytes: 32 / sizeof(T) times x and dy through the caches. FLOPs: 4 for each pair.
// Lesson: factors out of the sum, differences into it.

template <typename T>
__global__ void __launch_bounds__(threads) block_a_channel_kernel(float* sum_dy,             // [C]
                                                                  float* sum_dy_xhat,        // [C]
                                                                  const T* __restrict__ x,   // [rows, C]
                                                                  const T* __restrict__ dy,  // [rows, C]
                                                                  const float* mean,         // [C]
                                                                  const float* variance,     // [C]
                                                                  std::int64_t rows, int channels) {
    const int c = static_cast<int>(blockIdx.x);
    const float m = mean[c];
    float sum = 0, product = 0;
    for (std::int64_t r = threadIdx.x; r < rows; r += threads) {
        const float g = to_float(dy[r * channels + c]);
        sum += g;
        product += g * (to_float(x[r * channels + c]) - m);
    }
    sum = block_sum(sum);
    product = block_sum(product);
    if (threadIdx.x > 0) return;
    sum_dy[c] = sum;
    sum_dy_xhat[c] = product * deviation_inverse(variance, c);
}

template <typename T>
void block_a_channel(const ladder::Gradients& t, cudaStream_t stream) {
    launch("gradients_block_a_channel", block_a_channel_kernel<T>,
           {static_cast<unsigned>(t.channels), threads}, stream, t.sum_dy, t.sum_dy_xhat,
           static_cast<const T*>(t.x), static_cast<const T*>(t.dy), t.mean, t.variance, t.rows, t.channels);
}

// --- 3. Tiles, and a second kernel ---
//
// Neighbouring threads take neighbouring channels, so that every byte of a piece is wanted; each
// block writes the sums of its slot of 1024 rows, and a second kernel adds the slots up in a fixed
// order. The mean of a channel is read once by each of its blocks.
// Bytes: x and dy once; and for a channel of a slot, 4096 bytes in bf16, 8 more that are written
// and read.
// Lesson: as in the statistics. A pattern that reads well with one tensor reads well with two.

constexpr int slot_rows = 1024;

std::int64_t slots_of(std::int64_t rows) {
    return divide_up(rows, slot_rows);
}

template <typename T>
__global__ void __launch_bounds__(threads) tile_kernel(float* slots,              // [slots, 2, C]
                                                       const T* __restrict__ x,   // [rows, C]
                                                       const T* __restrict__ dy,  // [rows, C]
                                                       const float* mean,         // [C]
                                                       std::int64_t rows, int channels, int chunks) {
    const int lane = static_cast<int>(threadIdx.x) % warp_lanes,
              warp = static_cast<int>(threadIdx.x) / warp_lanes;
    const int slot = static_cast<int>(blockIdx.x) / chunks,
              c = static_cast<int>(blockIdx.x) % chunks * warp_lanes + lane;
    const std::int64_t begin = std::int64_t{slot} * slot_rows,
                       end = begin + slot_rows < rows ? begin + slot_rows : rows;
    float sum = 0, product = 0;
    if (c < channels) {
        const float m = mean[c];
        for (std::int64_t r = begin + warp; r < end; r += warps) {
            const float g = to_float(dy[r * channels + c]);
            sum += g;
            product += g * (to_float(x[r * channels + c]) - m);
        }
    }
    ONECYCLE_SHARED(float, shared, 2 * threads);
    shared[threadIdx.x] = sum;
    shared[threads + threadIdx.x] = product;
    __syncthreads();
    if (warp > 0 || c >= channels) return;
    for (int other = 1; other < warps; ++other) {
        sum += shared[other * warp_lanes + lane];
        product += shared[threads + other * warp_lanes + lane];
    }
    float* const to = slots + std::int64_t{slot} * 2 * channels + c;
    to[0] = sum;
    to[channels] = product;
}

__global__ void __launch_bounds__(threads) add_slots_kernel(float* sum_dy,          // [C]
                                                            float* sum_dy_xhat,     // [C]
                                                            const float* slots,     // [count, 2, C]
                                                            const float* variance,  // [C]
                                                            int count, int channels) {
    const int c = static_cast<int>(blockIdx.x);
    float sum = 0, product = 0;
    for (int slot = static_cast<int>(threadIdx.x); slot < count; slot += threads) {
        const float* const from = slots + std::int64_t{slot} * 2 * channels + c;
        sum += from[0];
        product += from[channels];
    }
    sum = block_sum(sum);
    product = block_sum(product);
    if (threadIdx.x > 0) return;
    sum_dy[c] = sum;
    sum_dy_xhat[c] = product * deviation_inverse(variance, c);
}

void add_slots(const ladder::Gradients& t, cudaStream_t stream) {
    launch("gradients_add_slots", add_slots_kernel, {static_cast<unsigned>(t.channels), threads}, stream,
           t.sum_dy, t.sum_dy_xhat, static_cast<const float*>(t.workspace), t.variance,
           static_cast<int>(slots_of(t.rows)), t.channels);
}

template <typename T>
void tiles(const ladder::Gradients& t, cudaStream_t stream) {
    const std::int64_t chunks = divide_up(t.channels, warp_lanes);
    launch("gradients_tiles", tile_kernel<T>, {static_cast<unsigned>(slots_of(t.rows) * chunks), threads},
           stream, static_cast<float*>(t.workspace), static_cast<const T*>(t.x), static_cast<const T*>(t.dy),
           t.mean, t.rows, t.channels, static_cast<int>(chunks));
    add_slots(t, stream);
}

// --- 4. Sixteen bytes a thread, two rows of two tensors at once ---
//
// As much must be under way here as in the statistics, 16 KB for each multiprocessor; but two
// tensors ask together, so two rows are enough where four were needed before, and they leave
// registers for the means of a thread's channels, which stay there for all rows: 8 channels in bf16
// are 8 means, 16 sums, and 4 vectors under way.
// Bytes: as kernel 3. Lesson: count registers as you count bytes; what is under way must stay
// somewhere.

template <typename T>
__global__ void __launch_bounds__(threads) vector_kernel(float* slots,              // [slots, 2, C]
                                                         const T* __restrict__ x,   // [rows, C]
                                                         const T* __restrict__ dy,  // [rows, C]
                                                         const float* mean,         // [C]
                                                         std::int64_t rows, int channels, int chunks) {
    constexpr int size = Vec<T>::size, width = 8, columns = width * size, lines = threads / width,
                  in_flight = 2;
    const int column = static_cast<int>(threadIdx.x) % width * size,
              line = static_cast<int>(threadIdx.x) / width;
    const int slot = static_cast<int>(blockIdx.x) / chunks,
              first = static_cast<int>(blockIdx.x) % chunks * columns;
    const std::int64_t begin = std::int64_t{slot} * slot_rows,
                       end = begin + slot_rows < rows ? begin + slot_rows : rows;
    float sum[size] = {}, product[size] = {};
    if (first + column < channels) {
        float m[size];
#pragma unroll
        for (int k = 0; k < size; ++k) m[k] = mean[first + column + k];
        const auto add = [&](const Vec<T>& value, const Vec<T>& gradient) {
#pragma unroll
            for (int k = 0; k < size; ++k) {
                const float g = to_float(gradient.v[k]);
                sum[k] += g;
                product[k] += g * (to_float(value.v[k]) - m[k]);
            }
        };
        const auto place = [&](std::int64_t r) { return r * channels + first + column; };
        std::int64_t r = begin + line;
        for (; r + (in_flight - 1) * lines < end; r += in_flight * lines) {
            Vec<T> values[in_flight], gradients[in_flight];
#pragma unroll
            for (int u = 0; u < in_flight; ++u) {
                values[u] = load_vec(x + place(r + u * lines));
                gradients[u] = load_vec(dy + place(r + u * lines));
            }
#pragma unroll
            for (int u = 0; u < in_flight; ++u) add(values[u], gradients[u]);
        }
        for (; r < end; r += lines) add(load_vec(x + place(r)), load_vec(dy + place(r)));
    }
    ONECYCLE_SHARED(float, shared, 2 * lines * columns);
#pragma unroll
    for (int k = 0; k < size; ++k) {
        shared[line * columns + column + k] = sum[k];
        shared[(lines + line) * columns + column + k] = product[k];
    }
    __syncthreads();
    const int mine = static_cast<int>(threadIdx.x);  // a column from here on
    if (mine >= columns || first + mine >= channels) return;
    float column_sum = 0, column_product = 0;
    for (int other = 0; other < lines; ++other) {
        column_sum += shared[other * columns + mine];
        column_product += shared[(lines + other) * columns + mine];
    }
    float* const to = slots + std::int64_t{slot} * 2 * channels + first + mine;
    to[0] = column_sum;
    to[channels] = column_product;
}

template <typename T>
void vectors(const ladder::Gradients& t, cudaStream_t stream) {
    if (t.channels % Vec<T>::size != 0) return tiles<T>(t, stream);
    const std::int64_t chunks = divide_up(t.channels, 8 * Vec<T>::size);
    launch("gradients_vectors", vector_kernel<T>, {static_cast<unsigned>(slots_of(t.rows) * chunks), threads},
           stream, static_cast<float*>(t.workspace), static_cast<const T*>(t.x), static_cast<const T*>(t.dy),
           t.mean, t.rows, t.channels, static_cast<int>(chunks));
    add_slots(t, stream);
}

// --- 5. What the project ships ---
//
// Backward, in kernels/batch_norm_backward_passes.h: its reduce() and finish() are kernels 4 and
// add_slots with three differences. What dy is made of is a type (`Source`): in a ResNet the
// gradient that arrives is a sum of two, masked by a ReLU, or comes through a pool, and each such g
// is made in registers where kernel 4 loads dy. A product and its sum round once (fmaf), and slots
// are added up in double. Tiles follow the number of channels, so that no thread is idle.
// The third part, apply(), makes dx of the sums; it is no part of this ladder.
// Bytes: as kernel 3. Lesson: a kernel that is fast once is reused by what it is given, not by
// copies of it.

// g = dy, without mask.
template <typename T>
struct Plain {
    static constexpr bool mask_from_x = false, stored = false;
    static constexpr int reduce_blocks = 2, rows_at_once = 2;
    const T* dy;  // [rows, C]

    template <int V>
    using Loaded = Pack<T, V>;
    template <int V>
    __device__ Pack<T, V> load(std::int64_t, std::int64_t at) const {
        return load_pack<V>(dy + at);
    }
    template <int V>
    __device__ void make(const Pack<T, V>& loaded, float (&g)[V]) const {
#pragma unroll
        for (int k = 0; k < V; ++k) g[k] = to_float(loaded.v[k]);
    }
};

template <typename T>
void shipped(const ladder::Gradients& t, cudaStream_t stream) {
    with_vector<T>(t.channels, [&]<int V>() {
        NormGradient<T> norm{};
        norm.x = static_cast<const T*>(t.x);
        norm.mean = t.mean;
        norm.variance = t.variance;
        norm.dgamma = t.sum_dy_xhat;
        norm.dbeta = t.sum_dy;
        BatchNormShape shape{};
        shape.rows = t.rows;
        shape.channels = t.channels;
        shape.epsilon = ladder::Gradients::epsilon;
        const auto pass =
            backward_pass<T, V, Plain<T>, 1>({static_cast<const T*>(t.dy)}, {norm}, shape, t.workspace);
        run_reduction({"gradients_reduce", "gradients_finish", ""}, pass, stream);
    });
}

// --- The list ---

std::size_t no_bytes(const ladder::Gradients&) {
    return 0;
}
std::size_t slot_bytes(const ladder::Gradients& t) {
    return sizeof(float) * 2 * static_cast<std::size_t>(slots_of(t.rows) * t.channels);
}
template <typename T>
std::size_t shipped_bytes(const ladder::Gradients& t) {
    return batch_norm_backward_workspace<T>(t.rows, t.channels, 1);
}

template <void (*launcher)(const ladder::Gradients&, cudaStream_t)>
void run(const ladder::Gradients& task, Stream& stream) {
    launcher(task, handle(stream));
}

template <typename T>
std::vector<ladder::Rung<ladder::Gradients>> rungs() {
    return {{"1 thread a channel", no_bytes, run<thread_a_channel<T>>},
            {"2 block a channel", no_bytes, run<block_a_channel<T>>},
            {"3 tiles", slot_bytes, run<tiles<T>>},
            {"4 vectors", slot_bytes, run<vectors<T>>},
            {"5 shipped", shipped_bytes<T>, run<shipped<T>>}};
}

}  // namespace

}  // namespace onecycle::ONECYCLE_CUDA

#if defined(ONECYCLE_EMULATED)
#define ONECYCLE_RUNGS gradients_on_emulator
#else
#define ONECYCLE_RUNGS gradients_on_gpu
#endif
std::vector<onecycle::ladder::Rung<onecycle::ladder::Gradients>> onecycle::ladder::ONECYCLE_RUNGS(
    DType type) {
    return type == DType::bf16 ? ONECYCLE_CUDA::rungs<bf16>() : ONECYCLE_CUDA::rungs<float>();
}
