#include "kernels/augment.h"

#include "kernels/normalize.h"
#include "rules/resample.h"
#include "rules/step_rules.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr int draw_threads = 128, threads = 256;
constexpr int tile_columns = 32, most_tile_rows = 32;
constexpr std::size_t most_shared = std::size_t{48} << 10;

// One view, as drawn.
struct PlacedView {
    std::int64_t offset;  // of its image in the pixels
    std::int32_t width;   // of its image
    std::int32_t vertical_first;
    ViewDraw draw;
};

// The scratch memory.
struct Scratch {
    PlacedView* views;             // [batch]
    Taps* ranges;                  // [batch, 2, size]: columns, then rows
    std::int32_t* weights;         // [batch, 2, size, taps]
    unsigned long long* luma_sum;  // [batch]; strong only
    std::uint8_t* rgb;             // [batch, size, size, 3]; strong only
    std::size_t bytes;
};

Scratch divide(const AugmentPlan& plan, void* memory) {
    auto* at = static_cast<unsigned char*>(memory);
    std::size_t used = 0;
    const auto take = [&](std::size_t bytes) {
        void* const part = at ? at + used : nullptr;
        used += (bytes + 63) / 64 * 64;
        return part;
    };
    const auto batch = static_cast<std::size_t>(plan.order.batch), size = static_cast<std::size_t>(plan.size);
    Scratch work{};
    work.views = static_cast<PlacedView*>(take(batch * sizeof(PlacedView)));
    work.ranges = static_cast<Taps*>(take(batch * 2 * size * sizeof(Taps)));
    work.weights = static_cast<std::int32_t*>(
        take(batch * 2 * size * static_cast<std::size_t>(plan.taps) * sizeof(std::int32_t)));
    if (plan.rule.strong) {
        work.luma_sum = static_cast<unsigned long long*>(take(batch * sizeof(unsigned long long)));
        work.rgb = static_cast<std::uint8_t*>(take(batch * size * size * 3));
    }
    work.bytes = used;
    return work;
}

// Pixels of one axis that so many neighbouring pixels of a view read, at most.
std::int64_t span_of(const AugmentPlan& plan, std::int64_t outputs) {
    if (outputs > plan.size) outputs = plan.size;
    return divide_up(plan.largest_crop * outputs, plan.size) + plan.taps + 1;
}

std::size_t tile_shared(const AugmentPlan& plan, int rows) {
    const std::int64_t between_h = span_of(plan, rows) * tile_columns,
                       between_v = span_of(plan, tile_columns) * rows;
    const std::int64_t between = between_h > between_v ? between_h : between_v;
    const std::int64_t lines = tile_columns + rows;
    return static_cast<std::size_t>(lines) * (sizeof(Taps) + plan.taps * sizeof(std::int32_t)) +
           static_cast<std::size_t>(between) * sizeof(std::uint32_t);
}

// Plain-loop equivalent, for each position n of the batch: sample = order.sample_at(number, n), or
// the next one that has an image; draw = draw_view(...); for each column and row of the view:
// resample_weights(...). A mirrored view has the columns in reverse. Bytes: a table entry of 24
// read, 8 + 4 * taps written for each column and row: 10 KB for a view of 224, small beside its
// pixels. Drawn once an image: the filter's divisions in double precision are then nothing to the
// kernel that makes pixels. A block makes a view; its first thread draws.
__global__ void __launch_bounds__(draw_threads)
    draw_views_kernel(Scratch work, std::int32_t* __restrict__ labels,  // [batch]
                      std::int32_t* __restrict__ count,                 // [1]
                      const ResidentImage* __restrict__ table,          // [samples]
                      const StepControl* __restrict__ control, AugmentPlan plan) {
    ONECYCLE_SHARED(ResidentImage, shared_image, 1);
    ONECYCLE_SHARED(ViewDraw, shared_draw, 1);
    ONECYCLE_SHARED(std::int64_t, shared_place, 1);
    const int n = static_cast<int>(blockIdx.x);
    if (threadIdx.x == 0) {
        const std::int64_t number =
            plan.order.number_of(control->update, global_micro(*control), control->first_epoch);
        for (std::int64_t turn = 0;; ++turn) {
            const std::int64_t sample = plan.order.sample_at(number, n, turn);
            if (turn == 0) shared_place[0] = sample;  // whose place this is: its view is drawn
            shared_image[0] = table[sample];
            if (shared_image[0].width != 0) break;
        }
        const ResidentImage& image = shared_image[0];
        labels[n] = image.label;
        if (n == 0) *count = plan.order.batch;
        if (plan.rule.strong) work.luma_sum[n] = 0;
        const ViewDraw draw =
            draw_view(plan.rule, image.width, image.height, plan.size,
                      RandomStream(plan.order.seed, RandomPurpose::augment, plan.order.epoch_of(number),
                                   static_cast<std::uint64_t>(shared_place[0])));
        shared_draw[0] = draw;  // and from there on: kept in registers it would not fit beside what draws it
        work.views[n] = {image.offset, image.width,
                         resample_vertical_first(image.width, image.height, plan.size, plan.size),
                         shared_draw[0]};
    }
    __syncthreads();
    const ResidentImage image = shared_image[0];
    const Rectangle crop = shared_draw[0].crop;
    const bool flip = shared_draw[0].flip;
    for (int line = static_cast<int>(threadIdx.x); line < 2 * plan.size; line += draw_threads) {
        const bool column = line < plan.size;
        const int low = column ? crop.x : crop.y, extent = column ? crop.width : crop.height;
        const ResampleAxis axis = resample_axis(column ? image.width : image.height, static_cast<float>(low),
                                                static_cast<float>(low + extent), plan.size);
        int output = column ? line : line - plan.size;
        if (column && flip) output = plan.size - 1 - output;
        const std::int64_t at = std::int64_t{n} * 2 * plan.size + line;
        std::int32_t* const weights = work.weights + at * plan.taps;
        const Taps taps = resample_weights(axis, output, weights);
        for (int k = taps.count; k < plan.taps; ++k) weights[k] = 0;
        work.ranges[at] = taps;
    }
}

struct Sums {
    std::int32_t r = resample_half, g = resample_half, b = resample_half;
};
// Four bytes, so that shared memory is read and written a whole bank at a time.
__device__ __forceinline__ std::uint32_t packed(const Sums& s) {
    return resample_rounded(s.r) | static_cast<std::uint32_t>(resample_rounded(s.g)) << 8 |
           static_cast<std::uint32_t>(resample_rounded(s.b)) << 16;
}
__device__ __forceinline__ void add(Sums& s, const std::uint8_t* rgb, std::int32_t weight) {
    s.r += rgb[0] * weight, s.g += rgb[1] * weight, s.b += rgb[2] * weight;
}
__device__ __forceinline__ void add(Sums& s, std::uint32_t rgb, std::int32_t weight) {
    s.r += static_cast<std::int32_t>(rgb & 255) * weight;
    s.g += static_cast<std::int32_t>(rgb >> 8 & 255) * weight;
    s.b += static_cast<std::int32_t>(rgb >> 16) * weight;
}

// Plain-loop equivalent, for a view whose horizontal pass comes first (the other order likewise):
//   between[r][x] = round8(sum over k of image[r][column[x].first + k] * column_weight[x][k])
//   view[y][x] = round8(sum over k of between[row[y].first + k][x] * row_weight[y][k])
//   x[y][x] = (view[y][x] / 255 - mean) / stddev            (strong: view[y][x] itself, in bytes)
// Bytes: each crop read once from DRAM, 3 a pixel (rows and columns at the edges of tiles again,
// from L2), and stored * sizeof(T) written for each pixel of the view. A block makes 32 columns x
// `rows` rows of a view; what lies between the passes stays in shared memory. Integer sums: any
// order gives Pillow's bits.
template <typename T, int stored, bool strong>
__global__ void __launch_bounds__(threads)
    make_views_kernel(T* __restrict__ x,                        // [batch, size, size, stored]
                      const std::uint8_t* __restrict__ pixels,  // of all images
                      Scratch work, int size, int most_taps, int tile_rows, Normalization normalization) {
    ONECYCLE_DYNAMIC_SHARED(unsigned char, shared);
    const int tiles = (size + tile_columns - 1) / tile_columns, bands = (size + tile_rows - 1) / tile_rows;
    const int tile = static_cast<int>(blockIdx.x) % tiles,
              band = static_cast<int>(blockIdx.x) / tiles % bands,
              n = static_cast<int>(blockIdx.x) / tiles / bands;
    const int x0 = tile * tile_columns, y0 = band * tile_rows;
    const int columns = size - x0 < tile_columns ? size - x0 : tile_columns,
              rows = size - y0 < tile_rows ? size - y0 : tile_rows;

    // The filter of these columns, then of these rows.
    const int lines = tile_columns + tile_rows;
    auto* const ranges = reinterpret_cast<Taps*>(shared);
    auto* const weights = reinterpret_cast<std::int32_t*>(ranges + lines);
    auto* const between = reinterpret_cast<std::uint32_t*>(weights + lines * most_taps);
    const std::int64_t of_columns = std::int64_t{n} * 2 * size + x0, of_rows = of_columns - x0 + size + y0;
    const int t = static_cast<int>(threadIdx.x);
    for (int i = t; i < columns + rows; i += threads) {
        const bool column = i < columns;
        ranges[column ? i : tile_columns + i - columns] =
            work.ranges[column ? of_columns + i : of_rows + i - columns];
    }
    for (int i = t; i < (columns + rows) * most_taps; i += threads) {
        const bool column = i < columns * most_taps;
        const int j = i - columns * most_taps;
        weights[column ? i : tile_columns * most_taps + j] =
            work.weights[column ? of_columns * most_taps + i : of_rows * most_taps + j];
    }
    __syncthreads();
    const Taps* const row_ranges = ranges + tile_columns;
    const std::int32_t* const row_weights = weights + tile_columns * most_taps;

    const PlacedView& view = work.views[n];
    const std::uint8_t* const image = pixels + view.offset;
    const std::int64_t stride = std::int64_t{view.width} * 3;
    const bool vertical_first = view.vertical_first != 0;
    // A mirrored view has its columns from right to left.
    const Taps left = ranges[0], right = ranges[columns - 1], top = row_ranges[0],
               bottom = row_ranges[rows - 1];
    const int first_column = left.first < right.first ? left.first : right.first;
    const int column_end = left.first < right.first ? right.first + right.count : left.first + left.count;
    const int read_columns = column_end - first_column, read_rows = bottom.first + bottom.count - top.first;

    if (vertical_first) {
        for (int i = t; i < rows * read_columns; i += threads) {
            const int y = i / read_columns, c = i % read_columns;
            const std::uint8_t* from = image + row_ranges[y].first * stride + (first_column + c) * 3;
            Sums sums;
            for (int k = 0; k < row_ranges[y].count; ++k, from += stride)
                add(sums, from, row_weights[y * most_taps + k]);
            between[i] = packed(sums);
        }
    } else {
        for (int i = t; i < read_rows * tile_columns; i += threads) {
            const int r = i / tile_columns, c = i % tile_columns;
            if (c >= columns) continue;
            const std::uint8_t* from = image + (top.first + r) * stride + ranges[c].first * 3;
            Sums sums;
            for (int k = 0; k < ranges[c].count; ++k, from += 3) add(sums, from, weights[c * most_taps + k]);
            between[i] = packed(sums);
        }
    }
    __syncthreads();

    for (int i = t; i < rows * tile_columns; i += threads) {
        const int y = i / tile_columns, c = i % tile_columns;
        if (c >= columns) continue;
        Sums sums;
        if (vertical_first) {
            const std::uint32_t* const from = between + y * read_columns + ranges[c].first - first_column;
            for (int k = 0; k < ranges[c].count; ++k) add(sums, from[k], weights[c * most_taps + k]);
        } else {
            const std::uint32_t* const from = between + (row_ranges[y].first - top.first) * tile_columns + c;
            for (int k = 0; k < row_ranges[y].count; ++k)
                add(sums, from[k * tile_columns], row_weights[y * most_taps + k]);
        }
        const std::uint8_t rgb[3] = {resample_rounded(sums.r), resample_rounded(sums.g),
                                     resample_rounded(sums.b)};
        const std::int64_t pixel = (std::int64_t{n} * size + y0 + y) * size + x0 + c;
        if constexpr (strong) {
            for (int k = 0; k < 3; ++k) work.rgb[3 * pixel + k] = rgb[k];
        } else {
            store_normalized<T, stored>(x, pixel, rgb, normalization);
        }
    }
}

// Strong views need the mean grey of the rotated view before any of its pixels is done: one pass
// for the sum, one for the pixels; both rotate, which costs less than to store what was rotated.
// Plain-loop equivalent: luma_sum[n] = sum over pixels of luma_1000(rotated pixel).
// Bytes: 3 read a pixel. Whole numbers, so the atomic sums are the same in every order.
__global__ void __launch_bounds__(threads) sum_luma_kernel(Scratch work, int size, int parts) {
    const int n = static_cast<int>(blockIdx.x) / parts, part = static_cast<int>(blockIdx.x) % parts;
    const Rotation rotation = work.views[n].draw.rotation;
    const int pixels = size * size;
    const std::uint8_t* const from = work.rgb + std::int64_t{n} * pixels * 3;
    unsigned long long sum = 0;
    for (int p = part * threads + static_cast<int>(threadIdx.x); p < pixels; p += parts * threads) {
        std::uint8_t rgb[3];
        rotation.pixel(from, size, p % size, p / size, rgb);
        sum += static_cast<unsigned long long>(luma_1000(rgb));
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) atomicAdd(&work.luma_sum[n], sum);
}

// Plain-loop equivalent: x[p] = normalised(erased.contains(p) ? mean colour : jitter.apply(rotated
// pixel p)). Bytes: 3 read, stored * sizeof(T) written a pixel.
template <typename T, int stored>
__global__ void __launch_bounds__(threads)
    finish_strong_kernel(T* __restrict__ x,  // [batch, size, size, stored]
                         Scratch work, int size, int parts, Normalization normalization) {
    const int n = static_cast<int>(blockIdx.x) / parts, part = static_cast<int>(blockIdx.x) % parts;
    const PlacedView& view = work.views[n];
    const Rotation rotation = view.draw.rotation;
    const int pixels = size * size;
    const ColourJitter jitter(view.draw, work.luma_sum[n], pixels);
    const std::int64_t first = std::int64_t{n} * pixels;
    for (int p = part * threads + static_cast<int>(threadIdx.x); p < pixels; p += parts * threads) {
        const int px = p % size, py = p / size;
        std::uint8_t rgb[3];
        if (view.draw.erased.contains(px, py)) {
            erase_pixel(rgb);
        } else {
            rotation.pixel(work.rgb + first * 3, size, px, py, rgb);
            jitter.apply(rgb);
        }
        store_normalized<T, stored>(x, first + p, rgb, normalization);
    }
}

template <typename T, int stored>
void make_pixels(T* x, const std::uint8_t* pixels, const Scratch& work, const AugmentPlan& plan,
                 const Normalization& normalization, cudaStream_t stream) {
    const int rows = augment_tile_rows(plan);
    const std::int64_t blocks =
        plan.order.batch * divide_up(plan.size, tile_columns) * divide_up(plan.size, rows);
    const LaunchShape shape{static_cast<unsigned>(blocks), threads, tile_shared(plan, rows)};
    if (!plan.rule.strong) {
        launch("make_views", make_views_kernel<T, stored, false>, shape, stream, x, pixels, work, plan.size,
               plan.taps, rows, normalization);
        return;
    }
    launch("make_views", make_views_kernel<float, 3, true>, shape, stream, static_cast<float*>(nullptr),
           pixels, work, plan.size, plan.taps, rows, normalization);
    // Some pixels a thread, so that what a thread computes once a view is little beside them.
    const std::int64_t wanted = divide_up(std::int64_t{plan.size} * plan.size, 8 * threads);
    const int parts = static_cast<int>(wanted);
    const LaunchShape all{static_cast<unsigned>(plan.order.batch * parts), threads};
    launch("sum_luma", sum_luma_kernel, all, stream, work, plan.size, parts);
    launch("finish_strong", finish_strong_kernel<T, stored>, all, stream, x, work, plan.size, parts,
           normalization);
}

}  // namespace

std::size_t augment_workspace(const AugmentPlan& plan) {
    return divide(plan, nullptr).bytes;
}

int augment_tile_rows(const AugmentPlan& plan) {
    int rows = most_tile_rows;
    while (rows > 0 && tile_shared(plan, rows) > most_shared) rows /= 2;
    return rows;
}

template <typename T>
void augment_images(T* x, std::int32_t* labels, std::int32_t* count, const ResidentImage* table,
                    const std::uint8_t* pixels, const StepControl* control, void* workspace,
                    const AugmentPlan& plan, int stored_channels, const Normalization& normalization,
                    cudaStream_t stream) {
    const Scratch work = divide(plan, workspace);
    launch("draw_views", draw_views_kernel, {static_cast<unsigned>(plan.order.batch), draw_threads}, stream,
           work, labels, count, table, control, plan);
    if (stored_channels == 8)
        make_pixels<T, 8>(x, pixels, work, plan, normalization, stream);
    else
        make_pixels<T, 3>(x, pixels, work, plan, normalization, stream);
}

#define ONECYCLE_INSTANTIATE(T)                                                                              \
    template void augment_images<T>(T*, std::int32_t*, std::int32_t*, const ResidentImage*,                  \
                                    const std::uint8_t*, const StepControl*, void*, const AugmentPlan&, int, \
                                    const Normalization&, cudaStream_t);
ONECYCLE_INSTANTIATE(float)
ONECYCLE_INSTANTIATE(bf16)
ONECYCLE_INSTANTIATE(f16)

}  // namespace onecycle::ONECYCLE_CUDA
