// A ladder of five kernels, to be read from top to bottom. All five do the same work: batch norm's
// statistics of a tensor x [rows, channels], for each channel c
//
//     for r in rows:  sum += x[r][c],  squares += x[r][c]^2
//     mean[c] = sum / rows,  variance[c] = squares / rows - mean[c]^2
//
// A row is one pixel of one image, its channels side by side in memory (NHWC). Two additions and a
// product for each number are next to nothing. The least time is the time to read x once, and the
// whole art is to read at full speed.
//
// The words of CUDA that are needed:
//   A kernel (__global__) is a function that many threads run at once; __device__ is a function that kernels call.
//   Threads come in blocks: threadIdx and blockIdx tell a thread which one it is. The host writes
//   launch(name, kernel, {blocks, threads in a block}, stream, arguments...).
//   A GPU has some hundred multiprocessors. Each holds up to 2048 threads, and works on those whose numbers have
//   arrived. Memory takes about half a microsecond to answer: only many reads under way at once hide that.
//   32 neighbouring threads are a warp. They read together, and memory answers in pieces of 32 bytes.
//   Threads of a block share a small fast memory (ONECYCLE_SHARED) and wait for each other at __syncthreads().
//   Blocks run in any order and do not wait for each other: what needs all of them is a kernel of its own.
#include "bench/ladder/ladder.h"
#include "device/cuda/stream.h"
#include "kernels/batch_norm_passes.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int threads = 256;  // of a block
constexpr int warps = threads / warp_lanes;

__device__ void store_statistics(float* mean, float* variance, int c, float sum, float squares,
                                 std::int64_t rows) {
    const float n = static_cast<float>(rows), m = sum / n;
    mean[c] = m;
    variance[c] = fmaxf(squares / n - m * m, 0.0f);  // rounding may have made it negative
}

// --- 1. A thread a channel ---
//
// The plain loop as it stands; only the loop over channels has become threads. 64 channels are 64
// threads, where a GPU of 132 multiprocessors has room for 270,000. One multiprocessor asks for a
// few numbers, waits half a microsecond, adds them, and asks again. All others stand by.
// Bytes: x once. Lesson: without enough threads nothing else matters.

template <typename T>
__global__ void __launch_bounds__(threads) thread_a_channel_kernel(float* mean,              // [C]
                                                                   float* variance,          // [C]
                                                                   const T* __restrict__ x,  // [rows, C]
                                                                   std::int64_t rows, int channels) {
    const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (c >= channels) return;
    float sum = 0, squares = 0;
    for (std::int64_t r = 0; r < rows; ++r) {
        const float value = to_float(x[r * channels + c]);
        sum += value;
        squares += value * value;
    }
    store_statistics(mean, variance, c, sum, squares, rows);
}

template <typename T>
void thread_a_channel(const ladder::Statistics& t, cudaStream_t stream) {
    const auto blocks = static_cast<unsigned>(divide_up(t.channels, threads));
    launch("thread_a_channel", thread_a_channel_kernel<T>, {blocks, threads}, stream, t.mean, t.variance,
           static_cast<const T*>(t.x), t.rows, t.channels);
}

// --- 2. A block a channel ---
//
// 256 threads share a channel: thread t takes rows t, t + 256, ..., and block_sum() adds up what
// they found, in an order that is always the same. That puts 256 times as many reads under way. But
// the 32 numbers that a warp reads are now of one channel and 32 rows, and lie far apart. Memory
// answers with 32 pieces of 32 bytes, and of each only 2 bytes (bf16) or 4 (float) are wanted. The
// others are neighbouring channels, which other blocks want, at other times. Bytes: 32 / sizeof(T)
// times x through the caches; from memory at best x once, as far as pieces stay in a cache until
// all have had their share. Lesson: neighbours in a warp must be neighbours in memory.

template <typename T>
__global__ void __launch_bounds__(threads) block_a_channel_kernel(float* mean,              // [C]
                                                                  float* variance,          // [C]
                                                                  const T* __restrict__ x,  // [rows, C]
                                                                  std::int64_t rows, int channels) {
    const int c = static_cast<int>(blockIdx.x);
    float sum = 0, squares = 0;
    for (std::int64_t r = threadIdx.x; r < rows; r += threads) {
        const float value = to_float(x[r * channels + c]);
        sum += value;
        squares += value * value;
    }
    sum = block_sum(sum);
    squares = block_sum(squares);
    if (threadIdx.x == 0) store_statistics(mean, variance, c, sum, squares, rows);
}

template <typename T>
void block_a_channel(const ladder::Statistics& t, cudaStream_t stream) {
    launch("block_a_channel", block_a_channel_kernel<T>, {static_cast<unsigned>(t.channels), threads}, stream,
           t.mean, t.variance, static_cast<const T*>(t.x), t.rows, t.channels);
}

// --- 3. Tiles, and a second kernel ---
//
// Neighbouring threads take neighbouring channels. What a warp reads lies together, and every byte
// that memory sends is wanted: the reads are coalesced. A block is a tile of 32 channels, and its 8
// warps take turns at the rows of a slot, 1024 of them. A large tensor has tiles enough for all
// multiprocessors.
// But a channel is now spread over many blocks, which cannot wait for each other. They could all
// add to one number in memory (atomicAdd), in the order in which they happen to end; then the last
// digits would change from run to run. So each block writes its sums to a place of its own, and a
// second kernel adds these up in a fixed order. It is kernel 2 again: strided reads do no harm
// where there is so little to read.
// Bytes: x once; and for a channel of a slot, 2048 bytes in bf16, 8 more that are written and read.
// Lesson: read together, and add up in two steps.

constexpr int slot_rows = 1024;

std::int64_t slots_of(std::int64_t rows) {
    return divide_up(rows, slot_rows);
}

template <typename T>
__global__ void __launch_bounds__(threads) tile_sums_kernel(float* slots,             // [slots, 2, C]
                                                            const T* __restrict__ x,  // [rows, C]
                                                            std::int64_t rows, int channels, int chunks) {
    const int lane = static_cast<int>(threadIdx.x) % warp_lanes,
              warp = static_cast<int>(threadIdx.x) / warp_lanes;
    const int slot = static_cast<int>(blockIdx.x) / chunks,
              c = static_cast<int>(blockIdx.x) % chunks * warp_lanes + lane;
    const std::int64_t begin = std::int64_t{slot} * slot_rows,
                       end = begin + slot_rows < rows ? begin + slot_rows : rows;
    float sum = 0, squares = 0;
    if (c < channels)
        for (std::int64_t r = begin + warp; r < end; r += warps) {
            const float value = to_float(x[r * channels + c]);
            sum += value;
            squares += value * value;
        }
    ONECYCLE_SHARED(float, shared, 2 * threads);
    shared[threadIdx.x] = sum;
    shared[threads + threadIdx.x] = squares;
    __syncthreads();
    if (warp > 0 || c >= channels) return;
    for (int other = 1; other < warps; ++other) {
        sum += shared[other * warp_lanes + lane];
        squares += shared[threads + other * warp_lanes + lane];
    }
    float* const to = slots + std::int64_t{slot} * 2 * channels + c;
    to[0] = sum;
    to[channels] = squares;
}

__global__ void __launch_bounds__(threads) add_slots_kernel(float* mean,         // [C]
                                                            float* variance,     // [C]
                                                            const float* slots,  // [count, 2, C]
                                                            int count, std::int64_t rows, int channels) {
    const int c = static_cast<int>(blockIdx.x);
    float sum = 0, squares = 0;
    for (int slot = static_cast<int>(threadIdx.x); slot < count; slot += threads) {
        const float* const from = slots + std::int64_t{slot} * 2 * channels + c;
        sum += from[0];
        squares += from[channels];
    }
    sum = block_sum(sum);
    squares = block_sum(squares);
    if (threadIdx.x == 0) store_statistics(mean, variance, c, sum, squares, rows);
}

void add_slots(const ladder::Statistics& t, cudaStream_t stream) {
    launch("add_slots", add_slots_kernel, {static_cast<unsigned>(t.channels), threads}, stream, t.mean,
           t.variance, static_cast<const float*>(t.workspace), static_cast<int>(slots_of(t.rows)), t.rows,
           t.channels);
}

template <typename T>
void tiles(const ladder::Statistics& t, cudaStream_t stream) {
    const std::int64_t chunks = divide_up(t.channels, warp_lanes);
    launch("tile_sums", tile_sums_kernel<T>, {static_cast<unsigned>(slots_of(t.rows) * chunks), threads},
           stream, static_cast<float*>(t.workspace), static_cast<const T*>(t.x), t.rows, t.channels,
           static_cast<int>(chunks));
    add_slots(t, stream);
}

// --- 4. Sixteen bytes a thread, four rows at once ---
//
// Kernel 3 wastes no bytes, but it asks for them in small coins. 4 TB/s from a memory that answers
// after half a microsecond means that 2 MB must be under way at any time, 16 KB for each
// multiprocessor. 2048 threads that wait for one number each are 4 KB in bf16; and each number
// costs an instruction to ask for it, and more to find its address. So a thread takes 16 bytes by
// one instruction (Vec: 8 channels in bf16, 4 in float), and asks for four rows before it adds the
// first. Eight threads side by side read 128 bytes of a row, and a block reads 32 rows at once.
// Channels that do not fill vectors are left to kernel 3.
// Bytes: as kernel 3. Lesson: ask for much, early, in few instructions.

template <typename T>
__global__ void __launch_bounds__(threads) vector_sums_kernel(float* slots,             // [slots, 2, C]
                                                              const T* __restrict__ x,  // [rows, C]
                                                              std::int64_t rows, int channels, int chunks) {
    constexpr int size = Vec<T>::size, width = 8, columns = width * size, lines = threads / width,
                  in_flight = 4;
    const int column = static_cast<int>(threadIdx.x) % width * size,
              line = static_cast<int>(threadIdx.x) / width;
    const int slot = static_cast<int>(blockIdx.x) / chunks,
              first = static_cast<int>(blockIdx.x) % chunks * columns;
    const std::int64_t begin = std::int64_t{slot} * slot_rows,
                       end = begin + slot_rows < rows ? begin + slot_rows : rows;
    float sum[size] = {}, squares[size] = {};
    const auto add = [&](const Vec<T>& values) {
#pragma unroll
        for (int k = 0; k < size; ++k) {
            const float value = to_float(values.v[k]);
            sum[k] += value;
            squares[k] += value * value;
        }
    };
    if (first + column < channels) {
        const T* const from = x + first + column;
        std::int64_t r = begin + line;
        for (; r + (in_flight - 1) * lines < end; r += in_flight * lines) {
            Vec<T> loaded[in_flight];
#pragma unroll
            for (int u = 0; u < in_flight; ++u) loaded[u] = load_vec(from + (r + u * lines) * channels);
#pragma unroll
            for (int u = 0; u < in_flight; ++u) add(loaded[u]);
        }
        for (; r < end; r += lines) add(load_vec(from + r * channels));
    }
    ONECYCLE_SHARED(float, shared, 2 * lines * columns);
#pragma unroll
    for (int k = 0; k < size; ++k) {
        shared[line * columns + column + k] = sum[k];
        shared[(lines + line) * columns + column + k] = squares[k];
    }
    __syncthreads();
    const int mine = static_cast<int>(threadIdx.x);  // a column from here on
    if (mine >= columns || first + mine >= channels) return;
    float column_sum = 0, column_squares = 0;
    for (int other = 0; other < lines; ++other) {
        column_sum += shared[other * columns + mine];
        column_squares += shared[(lines + other) * columns + mine];
    }
    float* const to = slots + std::int64_t{slot} * 2 * channels + first + mine;
    to[0] = column_sum;
    to[channels] = column_squares;
}

template <typename T>
void vectors(const ladder::Statistics& t, cudaStream_t stream) {
    if (t.channels % Vec<T>::size != 0) return tiles<T>(t, stream);
    const std::int64_t chunks = divide_up(t.channels, 8 * Vec<T>::size);
    launch("vector_sums", vector_sums_kernel<T>, {static_cast<unsigned>(slots_of(t.rows) * chunks), threads},
           stream, static_cast<float*>(t.workspace), static_cast<const T*>(t.x), t.rows, t.channels,
           static_cast<int>(chunks));
    add_slots(t, stream);
}

// --- 5. What the project ships ---
//
// Kernel 4 reads as it should; its answer can be wrong. Where a channel's mean is 100 times its
// deviation, squares / rows and mean^2 have their first four digits in common. Their difference,
// the variance, keeps the last three of a float's seven. (Kernels 1 and 2 are worse: a sum of so
// many numbers grows so large that each addition loses digits. Many short sums are not only
// faster.) The cure costs no byte. A thread adds up x - its first x, which is small, and makes of
// it its own mean and m2, the sum of squared deviations from that mean. Any two such pairs can be
// combined without a small difference of large numbers (Chan, Golub, LeVeque 1979;
// combine_moments() in kernels/channel_tiles.h). The second kernel does that in double. Two smaller
// things: a tile's width follows the number of channels, so that no thread is idle where there are
// few; and a slot is as long as makes about 528 tiles, four for each of 132 multiprocessors, which
// begin and end together.
//
// This is no copy. Statistics, in kernels/batch_norm_passes.h, is the first half of every batch
// norm here: read its reduce() next, then for_rows() and TileSums in kernels/channel_tiles.h.
// Bytes: as kernel 3. Lesson: check digits, not only speed.

template <typename T>
void shipped(const ladder::Statistics& t, cudaStream_t stream) {
    with_vector<T>(t.channels, [&]<int V>() {
        Statistics<T, V> pass{};
        pass.tiles = channel_tiles(t.rows, t.channels, V);
        pass.tensors = 1;
        pass.x[0] = static_cast<const T*>(t.x);
        pass.mean[0] = t.mean;
        pass.variance[0] = t.variance;
        pass.slots = static_cast<float*>(t.workspace);
        run_reduction({"batch_norm_statistics", "batch_norm_finish", ""}, pass, stream);
    });
}

// --- The list ---

std::size_t no_bytes(const ladder::Statistics&) {
    return 0;
}
std::size_t slot_bytes(const ladder::Statistics& t) {
    return sizeof(float) * 2 * static_cast<std::size_t>(slots_of(t.rows) * t.channels);
}
template <typename T>
std::size_t shipped_bytes(const ladder::Statistics& t) {
    return batch_norm_workspace<T>(t.rows, t.channels, 1);
}

template <void (*launcher)(const ladder::Statistics&, cudaStream_t)>
void run(const ladder::Statistics& task, Stream& stream) {
    launcher(task, handle(stream));
}

template <typename T>
std::vector<ladder::Rung<ladder::Statistics>> rungs() {
    return {{"1 thread a channel", no_bytes, run<thread_a_channel<T>>},
            {"2 block a channel", no_bytes, run<block_a_channel<T>>},
            {"3 tiles", slot_bytes, run<tiles<T>>},
            {"4 vectors", slot_bytes, run<vectors<T>>},
            {"5 shipped", shipped_bytes<T>, run<shipped<T>>}};
}

}  // namespace

}  // namespace onecycle::ONECYCLE_CUDA

#if defined(ONECYCLE_EMULATED)
#define ONECYCLE_RUNGS statistics_on_emulator
#else
#define ONECYCLE_RUNGS statistics_on_gpu
#endif
std::vector<onecycle::ladder::Rung<onecycle::ladder::Statistics>> onecycle::ladder::ONECYCLE_RUNGS(
    DType type) {
    return type == DType::bf16 ? ONECYCLE_CUDA::rungs<bf16>() : ONECYCLE_CUDA::rungs<float>();
}
