// One way to walk activations of every layout. A tensor is groups of channels; a group's plane of
// one image is rows of sixteen floats, and lane l of every row of group g belongs to channel
// g*block + l % block:
//   nChw16c  16 channels a group, a row is a pixel
//   nChw8c    8 channels a group, a row is two pixels
//   plain     1 channel a group, a row is sixteen pixels
//   nhwc     16 channels a group, a row is a piece of a pixel
// Features [N,C] are an image of one pixel each, in nhwc.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/tensor.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/simd.h"

namespace onecycle::cpu {

inline constexpr std::int64_t lanes = 16;

struct ChannelView {
    std::int64_t images = 0, channels = 0, pixels = 0;
    std::int64_t groups = 0, block = 0;
    std::int64_t rows = 0;  // full rows of a plane
    int tail = 0;           // lanes of one more row after them; 0: there is none
    std::int64_t image_stride = 0, group_stride = 0, row_stride = 0;  // in floats

    explicit ChannelView(const TensorDesc& t)
        : images(t[0]),
          channels(t[1]),
          pixels(t.rank == 2 ? 1 : t[2] * t[3]),
          image_stride(channels * pixels) {
        if (t.layout == Layout::nhwc || t.rank == 2) {
            block = lanes;
            groups = (channels + block - 1) / block;
            rows = pixels;
            group_stride = lanes;
            row_stride = channels;
            return;
        }
        block = t.layout == Layout::nChw16c ? 16 : t.layout == Layout::nChw8c ? 8 : 1;
        groups = channels / block;
        rows = pixels * block / lanes;
        tail = static_cast<int>(pixels * block % lanes);
        group_stride = pixels * block;
        row_stride = lanes;
    }

    // Lanes of the rows of a group: fewer than 16 only in the last group of nhwc.
    int width(std::int64_t group) const {
        return static_cast<int>(std::min(lanes, block == lanes ? channels - group * lanes : lanes));
    }
    std::int64_t channel(std::int64_t group, std::int64_t lane) const { return group * block + lane % block; }
};

// f(offset in floats, All or First) for rows [begin, end) of the plane of (image, group).
template <typename F>
ONECYCLE_INLINE void for_rows(const ChannelView& v, std::int64_t image, std::int64_t group,
                              std::int64_t begin, std::int64_t end, const F& f) {
    const std::int64_t start = image * v.image_stride + group * v.group_stride;
    const int width = v.width(group);
    if (width == lanes)
        for (std::int64_t r = begin; r < end; ++r) f(start + r * v.row_stride, simd::All{});
    else
        for (std::int64_t r = begin; r < end; ++r) f(start + r * v.row_stride, simd::First{width});
}

// The row after the full ones.
template <typename F>
ONECYCLE_INLINE void for_tail(const ChannelView& v, std::int64_t image, std::int64_t group, const F& f) {
    if (v.tail)
        f(image * v.image_stride + group * v.group_stride + v.rows * v.row_stride, simd::First{v.tail});
}

template <typename F>
ONECYCLE_INLINE void for_plane(const ChannelView& v, std::int64_t image, std::int64_t group, const F& f) {
    for_rows(v, image, group, 0, v.rows, f);
    for_tail(v, image, group, f);
}

// Adds the plane of (image, group) to the sums of its lanes: 64 rows as floats, then what they made as
// doubles.
ONECYCLE_INLINE void add_plane(double* sums, const ChannelView& v, const float* x, std::int64_t image,
                               std::int64_t group) {
    simd::Float16 sum{};
    std::int64_t pending = 0;
    for_plane(
        v, image, group, [&](std::int64_t at, auto row) __attribute__((always_inline)) {
            sum = sum + simd::load(x + at, row);
            if (++pending == 64) {
                simd::add_to(sums, sum);
                sum = simd::Float16{};
                pending = 0;
            }
        });
    simd::add_to(sums, sum);
}

// f(channel, its sum): that of the lanes which hold it.
template <typename F>
ONECYCLE_INLINE void for_channel_sums(const ChannelView& v, const double* sums, std::int64_t group,
                                      const F& f) {
    const std::int64_t used = std::min<std::int64_t>(v.block, v.width(group));
    for (std::int64_t c = 0; c < used; ++c) {
        double total = 0;
        for (std::int64_t l = c; l < lanes; l += v.block) total += sums[l];
        f(v.channel(group, c), total);
    }
}

// Pieces of work: up to 16 ranges of images, and groups of channels until there are about 64
// pieces.
struct Pieces {
    std::int64_t images, groups, image_parts, group_parts;

    explicit Pieces(const ChannelView& v)
        : images(v.images),
          groups(v.groups),
          image_parts(std::min<std::int64_t>(v.images, 16)),
          group_parts(std::min(v.groups, (64 + image_parts - 1) / image_parts)) {}

    std::int64_t count() const { return image_parts * group_parts; }
    std::int64_t image_part(std::int64_t piece) const { return piece / group_parts; }
    Range images_of(std::int64_t part) const { return part_of(images, part, image_parts); }
    Range image_range(std::int64_t piece) const { return images_of(image_part(piece)); }
    Range group_range(std::int64_t piece) const { return part_of(groups, piece % group_parts, group_parts); }
};

}  // namespace onecycle::cpu
