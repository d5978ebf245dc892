#include "ops/cuda/host_convolution.h"

#include <algorithm>

#include "ops/cpu/parallel.h"
#include "ops/cpu/simd.h"
#include "rules/half.h"

namespace onecycle {

using cpu::parallel_for;
using simd::Float8;
using simd::UnalignedFloat8;

namespace {

// The register tile: 6 rows x 16 columns are 12 registers of sums.
constexpr int tile_rows = 6;
constexpr std::int64_t tile_columns = 16;
// Target pixels of one task, and the length of sums between which they are added to memory.
constexpr std::int64_t block_pixels = 48, block_depth = 384;
constexpr std::int64_t row_pitch = block_depth + 16;
// Weight gradients: pixels of one partial sum, columns of one task, most output channels of one
// task.
constexpr std::int64_t chunk_pixels = 128, task_columns = 64, task_outputs = 96;

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) {
    return (a + b - 1) / b;
}
constexpr std::int64_t padded(std::int64_t columns) {
    return divide_up(columns, tile_columns) * tile_columns;
}

// f16 to float without a branch: the exponent is moved by a product, which is exact for subnormals
// too.
ONECYCLE_INLINE float widen_f16(std::uint16_t bits) {
    const std::uint32_t magnitude = bits & 0x7FFFu, sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
    const float value = float_of(magnitude << 13) * 0x1p112f;
    const std::uint32_t special = magnitude >= 0x7C00u ? 0x7F800000u : 0u;
    return float_of(bits_of(value) | special | sign);
}

// to[i] = from[begin + i], i < count
ONECYCLE_CLONES
void widen(DType type, const void* from, std::int64_t begin, std::int64_t count, float* to) {
    if (type == DType::bf16) {
        const bf16* source = static_cast<const bf16*>(from) + begin;
        for (std::int64_t i = 0; i < count; ++i) to[i] = to_float(source[i]);
    } else if (type == DType::f16) {
        const f16* source = static_cast<const f16*>(from) + begin;
        for (std::int64_t i = 0; i < count; ++i) to[i] = widen_f16(source[i].bits);
    } else {
        const float* source = static_cast<const float*>(from) + begin;
        for (std::int64_t i = 0; i < count; ++i) to[i] = source[i];
    }
}

// to[begin + i] = from[i] rounded, i < count
ONECYCLE_CLONES
void narrow(DType type, const float* from, std::int64_t count, void* to, std::int64_t begin) {
    if (type == DType::bf16) {
        bf16* target = static_cast<bf16*>(to) + begin;
        for (std::int64_t i = 0; i < count; ++i) target[i] = from_float<bf16>(from[i]);
    } else if (type == DType::f16) {
        f16* target = static_cast<f16*>(to) + begin;
        for (std::int64_t i = 0; i < count; ++i) target[i] = from_float<f16>(from[i]);
    } else {
        float* target = static_cast<float*>(to) + begin;
        for (std::int64_t i = 0; i < count; ++i) target[i] = from[i];
    }
}

ONECYCLE_INLINE Float8 broadcast8(float x) {
    return Float8{x, x, x, x, x, x, x, x};
}

// out[r][j] += sum over k of a[r * a_row + k * a_step] * b[k][j], 16 columns
template <int rows>
ONECYCLE_INLINE void multiply_tile(const float* a, std::int64_t a_row, std::int64_t a_step, const float* b,
                                   std::int64_t depth, float* out, std::int64_t out_row) {
    Float8 sum[rows][2] = {};
    for (std::int64_t k = 0; k < depth; ++k) {
        const Float8 low = *reinterpret_cast<const UnalignedFloat8*>(b + k * tile_columns);
        const Float8 high = *reinterpret_cast<const UnalignedFloat8*>(b + k * tile_columns + 8);
        for (int r = 0; r < rows; ++r) {
            const Float8 x = broadcast8(a[r * a_row + k * a_step]);
            sum[r][0] += x * low;
            sum[r][1] += x * high;
        }
    }
    for (int r = 0; r < rows; ++r)
        for (int half = 0; half < 2; ++half) {
            auto* to = reinterpret_cast<UnalignedFloat8*>(out + r * out_row + 8 * half);
            *to = *to + sum[r][half];
        }
}

ONECYCLE_INLINE void multiply_rows(const float* a, std::int64_t rows, std::int64_t a_row, std::int64_t a_step,
                                   const float* b, std::int64_t depth, float* out, std::int64_t out_row) {
    std::int64_t r = 0;
    for (; r + tile_rows <= rows; r += tile_rows)
        multiply_tile<tile_rows>(a + r * a_row, a_row, a_step, b, depth, out + r * out_row, out_row);
    for (; r + 2 <= rows; r += 2)
        multiply_tile<2>(a + r * a_row, a_row, a_step, b, depth, out + r * out_row, out_row);
    if (r < rows) multiply_tile<1>(a + r * a_row, a_row, a_step, b, depth, out + r * out_row, out_row);
}

// Rows of a lie one after the other.
ONECYCLE_CLONES
void multiply(const float* a, std::int64_t rows, const float* b, std::int64_t panels, std::int64_t panel,
              std::int64_t depth, float* out, std::int64_t out_row) {
    for (std::int64_t p = 0; p < panels; ++p)
        multiply_rows(a, rows, row_pitch, 1, b + p * panel, depth, out + p * tile_columns, out_row);
}

// Columns of a lie one after the other: out += a^T b.
ONECYCLE_CLONES
void multiply_transposed(const float* a, std::int64_t rows, std::int64_t a_step, const float* b,
                         std::int64_t panels, std::int64_t panel, std::int64_t depth, float* out,
                         std::int64_t out_row) {
    for (std::int64_t p = 0; p < panels; ++p)
        multiply_rows(a, rows, 1, a_step, b + p * panel, depth, out + p * tile_columns, out_row);
}

}  // namespace

HostConvolution::HostConvolution(const ConvolutionProblem& problem, int threads)
    : problem_(problem), threads_(threads) {
    const Image x{problem.h, problem.w, problem.c}, y{problem.out_h(), problem.out_w(), problem.o};
    const bool backward = problem.pass == Pass::backward_data;
    source_ = backward ? y : x;
    target_ = backward ? x : y;
    (backward ? target_step_ : source_step_) = problem.stride;
    if (backward)
        plan_backward_data();
    else
        plan_forward();
    if (problem.pass == Pass::backward_weights) {
        scratch_ = chunk_pixels * (task_outputs + task_columns) + task_outputs * task_columns + task_columns;
        return;
    }
    for (Phase& phase : phases_) {
        phase.packed_weights = packed_;
        packed_ += phase.depth * padded(target_.channels);
    }
    scratch_ = block_pixels * (row_pitch + padded(target_.channels)) + padded(target_.channels);
}

std::size_t HostConvolution::workspace() const {
    const std::int64_t thread = padded(scratch_);
    return static_cast<std::size_t>(padded(packed_) + thread * threads_) * sizeof(float);
}

void HostConvolution::plan_forward() {
    Phase all;
    all.height = target_.height;
    all.width = target_.width;
    for (int ky = 0; ky < problem_.kernel; ++ky)
        all.rows.push_back({ky - problem_.padding, -std::int64_t{problem_.padding}, problem_.kernel,
                            ky * problem_.kernel, 1});
    all.depth = std::int64_t{problem_.kernel} * problem_.kernel * source_.channels;
    phases_.push_back(std::move(all));
}

// dx at y is met by ky when y + padding - ky is a multiple of the stride, from dy at that multiple:
// as ky grows by the stride, dy's row falls by one.
void HostConvolution::plan_backward_data() {
    const int stride = problem_.stride, kernel = problem_.kernel;
    for (int y = 0; y < std::min<std::int64_t>(stride, target_.height); ++y)
        for (int x = 0; x < std::min<std::int64_t>(stride, target_.width); ++x) {
            Phase phase;
            phase.y = y;
            phase.x = x;
            phase.height = divide_up(target_.height - y, stride);
            phase.width = divide_up(target_.width - x, stride);
            const int first_ky = (y + problem_.padding) % stride, first_kx = (x + problem_.padding) % stride;
            const int columns = first_kx < kernel ? (kernel - 1 - first_kx) / stride + 1 : 0;
            const int last_kx = first_kx + (columns - 1) * stride;  // the leftmost pixel of dy
            for (int ky = first_ky; ky < kernel && columns > 0; ky += stride)
                phase.rows.push_back({(y + problem_.padding - ky) / stride,
                                      (x + problem_.padding - last_kx) / stride, columns,
                                      ky * kernel + last_kx, -stride});
            phase.depth = static_cast<std::int64_t>(phase.rows.size()) * columns * source_.channels;
            phases_.push_back(std::move(phase));
        }
}

// One panel of the weights, [depth][16 target channels]; channels that are not there are zero.
void HostConvolution::pack_weights(const Phase& phase, std::int64_t panel, const void* weights,
                                   float* packed) const {
    const std::int64_t taps = std::int64_t{problem_.kernel} * problem_.kernel, first = panel * tile_columns,
                       columns = std::min(tile_columns, target_.channels - first);
    float* to = packed + phase.packed_weights + panel * phase.depth * tile_columns;
    if (columns < tile_columns) std::fill_n(to, phase.depth * tile_columns, 0.0f);
    for (const Row& row : phase.rows)
        for (std::int64_t pixel = 0; pixel < row.pixels; ++pixel) {
            const std::int64_t tap = row.tap + pixel * row.tap_step;
            if (problem_.pass == Pass::backward_data) {  // w [O,taps,C]: source channels are O, target ones C
                for (std::int64_t o = 0; o < source_.channels; ++o, to += tile_columns)
                    widen(problem_.type, weights, (o * taps + tap) * target_.channels + first, columns, to);
                continue;
            }
            constexpr std::int64_t some = 256;
            float line[some];
            for (std::int64_t c = 0; c < source_.channels; c += some) {
                const std::int64_t count = std::min(some, source_.channels - c);
                for (std::int64_t j = 0; j < columns; ++j) {
                    widen(problem_.type, weights, ((first + j) * taps + tap) * source_.channels + c, count,
                          line);
                    for (std::int64_t i = 0; i < count; ++i) to[i * tile_columns + j] = line[i];
                }
                to += count * tile_columns;
            }
        }
}

// Elements [begin, end) of what the row of the window sees from place (y, x) of image n: zero
// outside of it.
void HostConvolution::gather(const Row& row, const void* source, std::int64_t n, std::int64_t y,
                             std::int64_t x, std::int64_t begin, std::int64_t end, float* to) const {
    const std::int64_t line = source_.width * source_.channels, from = (x + row.x) * source_.channels + begin,
                       count = end - begin;
    const bool inside = y + row.y >= 0 && y + row.y < source_.height;
    const std::int64_t left = inside ? std::clamp<std::int64_t>(-from, 0, count) : count,
                       right = std::clamp<std::int64_t>(line - from, left, count);
    std::fill_n(to, left, 0.0f);
    widen(problem_.type, source, (n * source_.height + y + row.y) * line + from + left, right - left,
          to + left);
    std::fill_n(to + right, count - right, 0.0f);
}

void HostConvolution::run_block(const Phase& phase, std::int64_t first_pixel, std::int64_t pixels,
                                std::int64_t first_panel, std::int64_t panels, const void* source,
                                const float* packed, void* out, float* scratch) const {
    const std::int64_t plane = phase.height * phase.width, columns = panels * tile_columns;
    float *a = scratch, *sums = a + block_pixels * row_pitch, *line = sums + block_pixels * columns;
    std::fill_n(sums, pixels * columns, 0.0f);
    const auto at = [&](std::int64_t pixel, std::int64_t& n, std::int64_t& y, std::int64_t& x) {
        n = pixel / plane;
        y = pixel % plane / phase.width;
        x = pixel % phase.width;
    };
    for (std::int64_t begin = 0; begin < phase.depth; begin += block_depth) {
        const std::int64_t end = std::min(begin + block_depth, phase.depth);
        for (std::int64_t i = 0; i < pixels; ++i) {
            std::int64_t n, y, x, row_begin = 0;
            at(first_pixel + i, n, y, x);
            for (const Row& row : phase.rows) {
                const std::int64_t row_end = row_begin + row.pixels * source_.channels,
                                   from = std::max(begin, row_begin), to = std::min(end, row_end);
                if (from < to)
                    gather(row, source, n, y * source_step_, x * source_step_, from - row_begin,
                           to - row_begin, a + i * row_pitch + from - begin);
                row_begin = row_end;
            }
        }
        const std::int64_t panel = phase.depth * tile_columns;
        multiply(a, pixels, packed + phase.packed_weights + first_panel * panel + begin * tile_columns,
                 panels, panel, end - begin, sums, columns);
    }
    const std::int64_t first = first_panel * tile_columns,
                       count = std::min(columns, target_.channels - first);
    for (std::int64_t i = 0; i < pixels; ++i) {
        std::int64_t n, y, x;
        at(first_pixel + i, n, y, x);
        const std::int64_t place =
            ((n * target_.height + phase.y + y * target_step_) * target_.width + phase.x + x * target_step_) *
                target_.channels +
            first;
        if (problem_.accumulate) {
            widen(problem_.output_type, out, place, count, line);
            for (std::int64_t j = 0; j < count; ++j) sums[i * columns + j] += line[j];
        }
        narrow(problem_.output_type, sums + i * columns, count, out, place);
    }
}

void HostConvolution::run_pixels(const void* source, const void* weights, void* out, float* workspace) const {
    float *packed = workspace, *scratch = workspace + padded(packed_);
    const std::int64_t panels = divide_up(target_.channels, tile_columns);
    for (const Phase& phase : phases_) {
        if (phase.depth > 0)
            parallel_for(threads_, panels,
                         [&](std::int64_t panel) { pack_weights(phase, panel, weights, packed); });
        const std::int64_t pixels = problem_.n * phase.height * phase.width,
                           blocks = divide_up(pixels, block_pixels);
        // Few pixels: channels are split, too.
        const std::int64_t parts = blocks >= 8 ? 1 : std::min(panels, divide_up(8, blocks));
        parallel_for(threads_, blocks * parts, [&](std::int64_t task) {
            const std::int64_t block = task / parts, first = block * block_pixels;
            const cpu::Range range = cpu::part_of(panels, task % parts, parts);
            run_block(phase, first, std::min(block_pixels, pixels - first), range.begin,
                      range.end - range.begin, source, packed, out,
                      scratch + omp_get_thread_num() * padded(scratch_));
        });
    }
}

// dw [O][columns of one row of the window] is summed over all pixels by one task, 128 pixels at a
// time.
void HostConvolution::run_weights(const void* dy, const void* x, void* dw, float* workspace) const {
    const Phase& phase = phases_.front();
    const std::int64_t plane = phase.height * phase.width, pixels = problem_.n * plane,
                       row_columns = problem_.kernel * source_.channels,
                       pieces = divide_up(row_columns, task_columns),
                       rows = static_cast<std::int64_t>(phase.rows.size());
    std::int64_t outputs = std::min(task_outputs, problem_.o);
    while (outputs > tile_rows && rows * pieces * divide_up(problem_.o, outputs) < 8)
        outputs = divide_up(outputs, 2);
    const std::int64_t groups = divide_up(problem_.o, outputs);
    parallel_for(threads_, rows * pieces * groups, [&](std::int64_t task) {
        const Row& row = phase.rows[static_cast<std::size_t>(task / groups / pieces)];
        const std::int64_t begin = task / groups % pieces * task_columns,
                           end = std::min(begin + task_columns, row_columns),
                           panels = divide_up(end - begin, tile_columns), first = task % groups * outputs,
                           count = std::min(outputs, problem_.o - first);
        float* const a = workspace + omp_get_thread_num() * padded(scratch_);
        float* const b = a + chunk_pixels * task_outputs;
        float* const sums = b + chunk_pixels * task_columns;
        float* const line = sums + task_outputs * task_columns;
        std::fill_n(sums, count * task_columns, 0.0f);
        std::fill_n(line, task_columns, 0.0f);
        for (std::int64_t chunk = 0; chunk < pixels; chunk += chunk_pixels) {
            const std::int64_t some = std::min(chunk_pixels, pixels - chunk);
            for (std::int64_t i = 0; i < some; ++i) {
                const std::int64_t pixel = chunk + i, n = pixel / plane, py = pixel % plane / phase.width,
                                   px = pixel % phase.width;
                widen(problem_.type, dy, pixel * problem_.o + first, count, a + i * task_outputs);
                gather(row, x, n, py * source_step_, px * source_step_, begin, end, line);
                for (std::int64_t p = 0; p < panels; ++p)
                    std::copy_n(line + p * tile_columns, tile_columns,
                                b + (p * chunk_pixels + i) * tile_columns);
            }
            multiply_transposed(a, count, task_outputs, b, panels, chunk_pixels * tile_columns, some, sums,
                                task_columns);
        }
        for (std::int64_t o = 0; o < count; ++o)
            narrow(problem_.output_type, sums + o * task_columns, end - begin, dw,
                   (first + o) * rows * row_columns + row.tap * source_.channels + begin);
    });
}

void HostConvolution::run(const void* first, const void* second, void* out, void* workspace) const {
    auto* const floats = static_cast<float*>(workspace);
    if (problem_.pass == Pass::backward_weights)
        run_weights(first, second, out, floats);
    else
        run_pixels(first, second, out, floats);
}

}  // namespace onecycle
