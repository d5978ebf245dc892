// A ladder of five kernels for a convolution of 3 x 3 with stride 1, as an implicit GEMM: a matrix
// product whose left matrix is never stored. Read statistics.cu first, for the words.
//
//     y[pixel][o] = sum over k of a[pixel][k] w[o][k],    k = (row of the kernel, column, channel)
//
// a[pixel][k] is the number of x that the kernel's place k lies on at this pixel, 0 in the padding.
// Of M pixels, O outputs and K = 9 C places each multiply-add counts as two operations: 2 M O K.
// For the second stage of a ResNet34, batch 256 (M = 200,704, O = C = 128, K = 1152), that is 59
// GFLOP, for 154 MB of x, w and y: 384 FLOP for each byte. Here memory is not the limit, if every
// number is used often once it was read. Each rung uses it more often than the one before.
//
// x and w are f16, sums and y are float.
#include "bench/ladder/ladder.h"
#include "bench/ladder/wmma.h"
#include "device/cuda/stream.h"
#include "kernels/cuda.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

struct Shape {
    int height, width, channels, outputs, pixels, places;  // places: K
};

// Where in x the kernel's place k lies at this pixel; -1 in the padding or beyond the last one.
__device__ int place_in_x(const Shape& s, int pixel, int k) {
    if (pixel >= s.pixels || k >= s.places) return -1;
    const int tap = k / s.channels, column = pixel % s.width + tap % 3 - 1,
              row = pixel / s.width % s.height + tap / 3 - 1;
    if (row < 0 || row >= s.height || column < 0 || column >= s.width) return -1;
    const int moved = pixel + (tap / 3 - 1) * s.width + tap % 3 - 1;
    return moved * s.channels + k % s.channels;
}
__device__ float number_of_x(const f16* x, const Shape& s, int pixel, int k) {
    const int at = place_in_x(s, pixel, k);
    return at < 0 ? 0.0f : to_float(x[at]);
}
__device__ float number_of_w(const f16* w, const Shape& s, int output, int k) {
    return output < s.outputs && k < s.places ? to_float(w[output * s.places + k]) : 0.0f;
}

// --- 1. A thread a pixel ---
//
// The loop as it stands: a thread computes one number of y, neighbouring threads have neighbouring
// pixels. Two numbers are read for each multiply-add. All lanes read the same one of w, which is
// one request for 2 bytes; but their 32 numbers of x lie C apart, in 32 pieces of 32 bytes.
// Bytes through the caches: 32 for each multiply-add, of which 2 are wanted: 32 M O K.
// Lesson: count the bytes for each FLOP.

constexpr int threads = 256;  // of a block, but for the last rung

__global__ void __launch_bounds__(threads) thread_a_pixel_kernel(float* __restrict__ y,      // [M, O]
                                                                 const f16* __restrict__ x,  // [M, C]
                                                                 const f16* __restrict__ w,  // [O, K]
                                                                 Shape s) {
    const int pixel = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x),
              output = static_cast<int>(blockIdx.y);
    if (pixel >= s.pixels) return;
    float sum = 0;
    for (int k = 0; k < s.places; ++k) sum += number_of_x(x, s, pixel, k) * number_of_w(w, s, output, k);
    y[std::int64_t{pixel} * s.outputs + output] = sum;
}

// --- 2. Tiles in shared memory ---
//
// A block computes 16 pixels by 16 outputs. For 16 places at a time its 256 threads bring a tile of
// a and a tile of w, one number of each, neighbouring threads neighbouring places: in NHWC those
// are neighbouring channels. Then every thread reads 16 pairs from shared memory: each number that
// was brought is used 16 times. A row of the w tile is 17 long: threads of a warp read the same
// place of 16 rows, and with 16 numbers a row these would lie in two of the 32 banks. (The two rows
// that a warp writes at once still meet in one: a pass in 17.)
// Bytes through the caches: 2 M O K (2 / 16) = M O K / 4. Lesson: bring once what many need.

constexpr int small_tile = 16;

__global__ void __launch_bounds__(threads) shared_tiles_kernel(float* __restrict__ y,      // [M, O]
                                                               const f16* __restrict__ x,  // [M, C]
                                                               const f16* __restrict__ w,  // [O, K]
                                                               Shape s) {
    constexpr int tile = small_tile, pitch = tile + 1;
    ONECYCLE_SHARED(float, a, tile* pitch);
    ONECYCLE_SHARED(float, b, tile* pitch);
    const int column = static_cast<int>(threadIdx.x) % tile, row = static_cast<int>(threadIdx.x) / tile;
    const int pixel = static_cast<int>(blockIdx.x) * tile + row,
              first_output = static_cast<int>(blockIdx.y) * tile;
    float sum = 0;
    for (int first = 0; first < s.places; first += tile) {
        a[row * pitch + column] = number_of_x(x, s, pixel, first + column);
        b[row * pitch + column] = number_of_w(w, s, first_output + row, first + column);
        __syncthreads();
        for (int k = 0; k < tile; ++k) sum += a[row * pitch + k] * b[column * pitch + k];
        __syncthreads();  // the next tiles come to the same place
    }
    const int output = first_output + column;
    if (pixel < s.pixels && output < s.outputs) y[std::int64_t{pixel} * s.outputs + output] = sum;
}

// --- 3. Tiles in registers ---
//
// Kernel 2 reads two numbers of shared memory for each multiply-add, and a multiprocessor can read
// 32 in the time in which it could compute 128. So a thread computes 4 pixels by 4 outputs: of 8
// numbers that it reads it makes 16 multiply-adds. The block is 64 by 64 then, and every number
// that was brought is used 64 times. Tiles are stored with the place first, [16][66]: the 16
// outputs of the threads of a warp are neighbours, and at 66 a row the 16 places that a warp writes
// at once are in different banks.
// Bytes through the caches: 2 M O K (2 / 64) = M O K / 16. Lesson: registers are the fastest memory
// of all, and there are 64 thousand of them.

constexpr int tile = 64, depth = 16, each = 4, pitch = tile + 2;

// The sums of a thread: pixels row + 16 i, outputs column + 16 j of the tile.
struct Sums {
    float of[each][each] = {};

    __device__ void add(const float* a, const float* b, int row, int column) {
        for (int k = 0; k < depth; ++k) {
            float left[each], right[each];
#pragma unroll
            for (int i = 0; i < each; ++i) {
                left[i] = a[k * pitch + row + tile / each * i];
                right[i] = b[k * pitch + column + tile / each * i];
            }
#pragma unroll
            for (int i = 0; i < each; ++i)
#pragma unroll
                for (int j = 0; j < each; ++j) of[i][j] += left[i] * right[j];
        }
    }
    __device__ void store(float* y, const Shape& s, int first_pixel, int first_output) const {
#pragma unroll
        for (int i = 0; i < each; ++i)
#pragma unroll
            for (int j = 0; j < each; ++j) {
                const int pixel = first_pixel + tile / each * i, output = first_output + tile / each * j;
                if (pixel < s.pixels && output < s.outputs)
                    y[std::int64_t{pixel} * s.outputs + output] = of[i][j];
            }
    }
};

__global__ void __launch_bounds__(threads) register_tiles_kernel(float* __restrict__ y,      // [M, O]
                                                                 const f16* __restrict__ x,  // [M, C]
                                                                 const f16* __restrict__ w,  // [O, K]
                                                                 Shape s) {
    ONECYCLE_SHARED(float, a, depth* pitch);
    ONECYCLE_SHARED(float, b, depth* pitch);
    const int t = static_cast<int>(threadIdx.x), column = t % (tile / each), row = t / (tile / each);
    const int first_pixel = static_cast<int>(blockIdx.x) * tile,
              first_output = static_cast<int>(blockIdx.y) * tile;
    Sums sums;
    for (int first = 0; first < s.places; first += depth) {
        for (int i = t; i < tile * depth; i += threads) {
            const int k = i % depth, line = i / depth;
            a[k * pitch + line] = number_of_x(x, s, first_pixel + line, first + k);
            b[k * pitch + line] = number_of_w(w, s, first_output + line, first + k);
        }
        __syncthreads();
        sums.add(a, b, row, column);
        __syncthreads();
    }
    sums.store(y, s, first_pixel + row, first_output + column);
}

// --- 4. Sixteen bytes a thread, and two buffers ---
//
// In kernel 3 all threads wait for memory, then all compute, then all wait again. Here every tile
// has two places. While a block computes on one, what comes next is already under way: a thread
// asks for its 16 bytes of the next tiles, computes, and only then puts them into the other place.
// One barrier a round is enough, for nobody writes where anybody reads. 16 bytes are 8 channels of
// one tap, so that one test for the padding serves 8 numbers; half of the threads bring a, half
// bring w. Where channels do not fill vectors, kernel 3 does the work.
// Bytes: as kernel 3, an eighth of the requests. Lesson: ask for the next before you use the last.

constexpr int in_vector = Vec<f16>::size;

__device__ Vec<f16> vector_of_x(const f16* x, const Shape& s, int pixel, int k) {
    const int at = place_in_x(s, pixel, k);
    return at < 0 ? Vec<f16>{} : load_vec(x + at);
}
__device__ Vec<f16> vector_of_w(const f16* w, const Shape& s, int output, int k) {
    return output < s.outputs && k < s.places ? load_vec(w + std::int64_t{output} * s.places + k)
                                              : Vec<f16>{};
}

__global__ void __launch_bounds__(threads) two_buffers_kernel(float* __restrict__ y,      // [M, O]
                                                              const f16* __restrict__ x,  // [M, C]
                                                              const f16* __restrict__ w,  // [O, K]
                                                              Shape s) {
    constexpr int buffer = depth * pitch, vectors = depth / in_vector;  // of a line
    ONECYCLE_SHARED(float, a, 2 * buffer);
    ONECYCLE_SHARED(float, b, 2 * buffer);
    const int t = static_cast<int>(threadIdx.x), column = t % (tile / each), row = t / (tile / each);
    const int first_pixel = static_cast<int>(blockIdx.x) * tile,
              first_output = static_cast<int>(blockIdx.y) * tile;
    const bool brings_x = t < threads / 2;
    const int k = t % vectors * in_vector, line = t % (threads / 2) / vectors;
    const auto load = [&](int first) {
        return brings_x ? vector_of_x(x, s, first_pixel + line, first + k)
                        : vector_of_w(w, s, first_output + line, first + k);
    };
    const auto put = [&](int which, const Vec<f16>& values) {
        float* const to = (brings_x ? a : b) + which * buffer + k * pitch + line;
#pragma unroll
        for (int i = 0; i < in_vector; ++i) to[i * pitch] = to_float(values.v[i]);
    };
    Sums sums;
    put(0, load(0));
    __syncthreads();
    int now = 0;
    for (int first = 0; first < s.places; first += depth, now = 1 - now) {
        const Vec<f16> next = load(first + depth);  // zeros after the last
        sums.add(a + now * buffer, b + now * buffer, row, column);
        put(1 - now, next);
        __syncthreads();
    }
    sums.store(y, s, first_pixel + row, first_output + column);
}

// --- 5. Tensor cores ---
//
// One instruction of a warp multiplies two matrices of 16 x 16 in f16 and adds the product to sums
// in float: 4096 multiply-adds, where 32 lanes would make 32. nvcuda::wmma names four words for it.
// A fragment is a matrix that the lanes of a warp hold together; load_matrix_sync brings one,
// mma_sync multiplies, store_matrix_sync writes. Each of the four warps computes 32 x 32: two
// fragments of a and two of w give four products. The tiles stay f16 in shared memory, half the
// bytes of kernel 4, a line 24 long: 48 bytes, so that eight lines that are read together begin in
// different banks. Sums leave by shared memory, for the edge of y may cut a fragment.
// Bytes: as kernel 4. FLOPs: the same, but at the tensor cores' rate, 15 times that of the others
// on an H100 by its data sheet. Then shared memory and the barriers are the limit again: what ships
// in libraries goes on from here (asynchronous copies, larger tiles, more buffers).
// Lesson: use the unit that was built for it, and feed it.

constexpr int tensor_threads = 128, tensor_pitch = depth + 8, fragments = 2, side = 16 * fragments,
              sums_pitch = tile + 4;

// Fragments are loaded from places that are 32 bytes aligned.
struct alignas(32) Aligned {
    unsigned char bytes[32];
};

__global__ void __launch_bounds__(tensor_threads) tensor_cores_kernel(float* __restrict__ y,      // [M, O]
                                                                      const f16* __restrict__ x,  // [M, C]
                                                                      const f16* __restrict__ w,  // [O, K]
                                                                      Shape s) {
    namespace wmma = nvcuda::wmma;
    constexpr int buffer = tile * tensor_pitch, vectors = depth / in_vector;
    ONECYCLE_SHARED(Aligned, tiles, 4 * buffer * sizeof(f16) / sizeof(Aligned));
    ONECYCLE_SHARED(Aligned, result, tile * sums_pitch * sizeof(float) / sizeof(Aligned));
    f16* const a = reinterpret_cast<f16*>(tiles);
    f16* const b = a + 2 * buffer;
    const int t = static_cast<int>(threadIdx.x), warp = t / warp_lanes, row = warp / 2 * side,
              column = warp % 2 * side;
    const int first_pixel = static_cast<int>(blockIdx.x) * tile,
              first_output = static_cast<int>(blockIdx.y) * tile;
    const int k = t % vectors * in_vector, line = t / vectors;
    const auto put = [&](int which, const Vec<f16>& of_x, const Vec<f16>& of_w) {
        const int at = which * buffer + line * tensor_pitch + k;
        store_vec(a + at, of_x);
        store_vec(b + at, of_w);
    };
    const auto load_x = [&](int first) { return vector_of_x(x, s, first_pixel + line, first + k); };
    const auto load_w = [&](int first) { return vector_of_w(w, s, first_output + line, first + k); };

    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sums[fragments][fragments];
    for (auto& of_row : sums)
        for (auto& sum : of_row) wmma::fill_fragment(sum, 0.0f);
    put(0, load_x(0), load_w(0));
    __syncthreads();
    int now = 0;
    for (int first = 0; first < s.places; first += depth, now = 1 - now) {
        const Vec<f16> next_x = load_x(first + depth), next_w = load_w(first + depth);
        wmma::fragment<wmma::matrix_a, 16, 16, 16, TensorHalf, wmma::row_major> left[fragments];
        wmma::fragment<wmma::matrix_b, 16, 16, 16, TensorHalf, wmma::col_major> right[fragments];
        for (int i = 0; i < fragments; ++i) {
            const auto half_at = [&](const f16* of, int at) {
                return reinterpret_cast<const TensorHalf*>(of + now * buffer + (at + 16 * i) * tensor_pitch);
            };
            wmma::load_matrix_sync(left[i], half_at(a, row), tensor_pitch);
            wmma::load_matrix_sync(right[i], half_at(b, column), tensor_pitch);
        }
        for (int i = 0; i < fragments; ++i)
            for (int j = 0; j < fragments; ++j) wmma::mma_sync(sums[i][j], left[i], right[j], sums[i][j]);
        put(1 - now, next_x, next_w);
        __syncthreads();
    }
    float* const out = reinterpret_cast<float*>(result);
    for (int i = 0; i < fragments; ++i)
        for (int j = 0; j < fragments; ++j)
            wmma::store_matrix_sync(out + (row + 16 * i) * sums_pitch + column + 16 * j, sums[i][j],
                                    sums_pitch, wmma::mem_row_major);
    __syncthreads();
    for (int i = t; i < tile * tile; i += tensor_threads) {
        const int pixel = first_pixel + i / tile, output = first_output + i % tile;
        if (pixel < s.pixels && output < s.outputs)
            y[std::int64_t{pixel} * s.outputs + output] = out[i / tile * sums_pitch + i % tile];
    }
}

// --- The list ---

using Kernel = void (*)(float*, const f16*, const f16*, Shape);

void run_kernel(const char* name, Kernel kernel, const ladder::Convolution& t, int pixels_a_block,
                int outputs_a_block, int block, Stream& stream) {
    const int pixels = static_cast<int>(t.pixels());
    const Shape shape{t.height, t.width, t.channels, t.outputs, pixels, 9 * t.channels};
    const dim3 grid(static_cast<unsigned>(divide_up(pixels, pixels_a_block)),
                    static_cast<unsigned>(divide_up(t.outputs, outputs_a_block)));
    launch(name, kernel, {grid, static_cast<unsigned>(block)}, handle(stream), t.y,
           static_cast<const f16*>(t.x), static_cast<const f16*>(t.w), shape);
}

void thread_a_pixel(const ladder::Convolution& t, Stream& stream) {
    run_kernel("convolution_thread_a_pixel", thread_a_pixel_kernel, t, threads, 1, threads, stream);
}
void shared_tiles(const ladder::Convolution& t, Stream& stream) {
    run_kernel("convolution_shared_tiles", shared_tiles_kernel, t, small_tile, small_tile, threads, stream);
}
void register_tiles(const ladder::Convolution& t, Stream& stream) {
    run_kernel("convolution_register_tiles", register_tiles_kernel, t, tile, tile, threads, stream);
}
void two_buffers(const ladder::Convolution& t, Stream& stream) {
    if (t.channels % in_vector != 0) return register_tiles(t, stream);
    run_kernel("convolution_two_buffers", two_buffers_kernel, t, tile, tile, threads, stream);
}
void tensor_cores(const ladder::Convolution& t, Stream& stream) {
    if (t.channels % in_vector != 0) return register_tiles(t, stream);
    run_kernel("convolution_tensor_cores", tensor_cores_kernel, t, tile, tile, tensor_threads, stream);
}

std::size_t no_bytes(const ladder::Convolution&) {
    return 0;
}

}  // namespace

}  // namespace onecycle::ONECYCLE_CUDA

#if defined(ONECYCLE_EMULATED)
#define ONECYCLE_RUNGS convolution_on_emulator
#else
#define ONECYCLE_RUNGS convolution_on_gpu
#endif
std::vector<onecycle::ladder::Rung<onecycle::ladder::Convolution>> onecycle::ladder::ONECYCLE_RUNGS() {
    using namespace ONECYCLE_CUDA;
    return {{"1 thread a pixel", no_bytes, thread_a_pixel},
            {"2 shared tiles", no_bytes, shared_tiles},
            {"3 register tiles", no_bytes, register_tiles},
            {"4 two buffers", no_bytes, two_buffers},
            {"5 tensor cores", no_bytes, tensor_cores}};
}
