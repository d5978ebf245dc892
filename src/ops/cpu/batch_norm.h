// What the batch-norm kernels share: per-channel values spread to the lanes of a group, so that
// inner loops load them as they load pixels.
#pragma once

#include "ops/cpu/channel_view.h"
#include "rules/norm_rules.h"

namespace onecycle::cpu {

ONECYCLE_INLINE simd::Float16 normalized(const simd::Float16& x, const simd::Float16& scale,
                                         const simd::Float16& shift) {
    using simd::operator*;
    using simd::operator+;
    return x * scale + shift;
}

// y = [relu](x * scale + shift [+ residual]); scale and shift are [groups, 16].
struct NormApply {
    const float* x;
    const float* scale;
    const float* shift;
    const float* residual;  // may be null
    float* y;
    bool relu;
};
void apply_norm(const ChannelView& view, const NormApply& operands, Range images, Range groups);

// Sums over images of two values a lane: [image_parts][groups][2][16] doubles, written by pieces.
struct PartialSums {
    double* at;
    std::int64_t groups;
    double* of(std::int64_t image_part, std::int64_t group) const {
        return at + (image_part * groups + group) * 2 * lanes;
    }
    static std::size_t bytes(const ChannelView& view, const Pieces& pieces) {
        return static_cast<std::size_t>(pieces.image_parts * view.groups * 2 * lanes) * sizeof(double);
    }
    // The two sums of every channel of a group: all image parts in order, then the lanes of the
    // channel.
    void channel_sums(const ChannelView& view, std::int64_t image_parts, std::int64_t group, double* first,
                      double* second) const {
        std::fill(first, first + view.block, 0.0);
        std::fill(second, second + view.block, 0.0);
        for (std::int64_t part = 0; part < image_parts; ++part) {
            const double* sums = of(part, group);
            for (std::int64_t l = 0; l < lanes; ++l) {
                first[l % view.block] += sums[l];
                second[l % view.block] += sums[lanes + l];
            }
        }
    }
};

// Scale and shift of a group's channels, by lane: [groups, 16].
inline void spread_scale_shift(const ChannelView& view, std::int64_t group, const float* mean,
                               const float* variance, const float* gamma, const float* beta, double epsilon,
                               float* scale, float* shift) {
    for (std::int64_t l = 0; l < view.width(group); ++l) {
        const std::int64_t c = view.channel(group, l);
        const ScaleShift s = scale_shift(mean[c], variance[c], gamma[c], beta[c], epsilon);
        scale[group * lanes + l] = s.scale;
        shift[group * lanes + l] = s.shift;
    }
}

// Statistics of a group, then what follows from them for that group. With enough groups each thread
// does both for its own, while they are in its cache; else all threads share every group. The bits
// are the same.
template <typename Sum, typename Finish, typename Apply>
void for_groups(int threads, const ChannelView& view, const Pieces& pieces, const Sum& sum,
                const Finish& finish, const Apply& apply) {
    if (view.groups % threads == 0 || view.groups >= 4 * threads) {
        parallel_for(threads, view.groups, [&](std::int64_t g) {
            for (std::int64_t part = 0; part < pieces.image_parts; ++part) sum(part, g);
            finish(g);
            apply(Range{0, view.images}, Range{g, g + 1});
        });
        return;
    }
    parallel_for(threads, pieces.count(), [&](std::int64_t piece) {
        const Range groups = pieces.group_range(piece);
        for (std::int64_t g = groups.begin; g < groups.end; ++g) sum(pieces.image_part(piece), g);
    });
    for (std::int64_t g = 0; g < view.groups; ++g) finish(g);
    parallel_for(threads, pieces.count(),
                 [&](std::int64_t piece) { apply(pieces.image_range(piece), pieces.group_range(piece)); });
}

// Two sums a lane over the planes of a group: sums[0..16) and sums[16..32). f(offset, All or First,
// first, second) adds a row's values to two Float16. Floats are added up over at most 64 rows, then
// in double.
template <typename F>
ONECYCLE_INLINE void sum_rows(const ChannelView& v, Range images, std::int64_t group, double* sums,
                              const F& f) {
    constexpr std::int64_t rows_in_float = 64;
    simd::Float16 first{}, second{};
    std::fill(sums, sums + 2 * lanes, 0.0);
    const auto take = [&](std::int64_t at, auto row) __attribute__((always_inline)) {
        f(at, row, first, second);
    };
    const auto flush = [&]() __attribute__((always_inline)) {
        add_to(sums, first);
        add_to(sums + lanes, second);
        first = second = simd::Float16{};
    };
    std::int64_t pending = 0;
    for (std::int64_t n = images.begin; n < images.end; ++n) {
        for (std::int64_t r = 0; r < v.rows;) {
            const std::int64_t end = std::min(v.rows, r + rows_in_float - pending);
            for_rows(v, n, group, r, end, take);
            pending += end - r;
            r = end;
            if (pending == rows_in_float) flush(), pending = 0;
        }
        for_tail(v, n, group, take);
    }
    flush();
}

}  // namespace onecycle::cpu
