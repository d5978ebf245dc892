// Max pooling. Forward keeps the place of the maximum in its window as one byte (row * kernel +
// column), so that backward needs neither x nor y. As in PyTorch the first maximum wins and NaN
// wins over all. Backward gathers: each input pixel sums over the windows it lies in, in a fixed
// order.
#include <limits>
#include <vector>

#include "ops/cpu/builders.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/simd.h"

namespace onecycle::cpu {

using simd::Float8;
using simd::UnalignedFloat8;

namespace {

// A tensor as channel groups of pixels, each pixel `vectors` times `width` floats. Blocked layouts
// have groups of a block; others are walked float by float.
struct PixelView {
    std::int64_t images, groups, height, width;
    std::int64_t image_stride, group_stride, row_stride, pixel_stride;
    int vectors;  // of 8 floats; 0: a single float

    explicit PixelView(const TensorDesc& t)
        : images(t[0]), groups(t[1]), height(t[2]), width(t[3]), image_stride(t[1] * t[2] * t[3]) {
        const std::int64_t block = t.layout == Layout::nChw16c ? 16 : t.layout == Layout::nChw8c ? 8 : 1;
        vectors = static_cast<int>(block / 8);
        groups /= block;
        group_stride = t.layout == Layout::nhwc ? 1 : height * width * block;
        pixel_stride = t.layout == Layout::nhwc ? t[1] : block;
        row_stride = pixel_stride * width;
    }
};

struct Window {
    std::int64_t kernel, stride, padding;
};

template <typename T>
struct Lane;
template <>
struct Lane<float> {
    using Int = std::int32_t;
    static ONECYCLE_INLINE float load(const float* p) { return *p; }
    static ONECYCLE_INLINE void store(float* p, float v) { *p = v; }
    static ONECYCLE_INLINE Int load_index(const std::uint8_t* p) { return *p; }
    static ONECYCLE_INLINE void store_index(std::uint8_t* p, Int v) { *p = static_cast<std::uint8_t>(v); }
};
template <>
struct Lane<Float8> {
    typedef std::int32_t Int __attribute__((vector_size(32)));
    static ONECYCLE_INLINE Float8 load(const float* p) {
        return *reinterpret_cast<const UnalignedFloat8*>(p);
    }
    static ONECYCLE_INLINE void store(float* p, const Float8& v) {
        *reinterpret_cast<UnalignedFloat8*>(p) = v;
    }
    // Loops, because the compiler turns them into one instruction and a vector conversion into
    // many.
    static ONECYCLE_INLINE Int load_index(const std::uint8_t* p) {
        Int v;
        for (int l = 0; l < 8; ++l) v[l] = p[l];
        return v;
    }
    static ONECYCLE_INLINE void store_index(std::uint8_t* p, const Int& v) {
        for (int l = 0; l < 8; ++l) p[l] = static_cast<std::uint8_t>(v[l]);
    }
};

template <typename T>
ONECYCLE_INLINE void pool_pixels(PixelView from, PixelView to, Window w, const float* x, float* y,
                                 std::uint8_t* index, std::int64_t oy) {
    using L = Lane<T>;
    const int vectors = std::max(1, from.vectors);
    const std::int64_t top = oy * w.stride - w.padding;
    const std::int64_t y0 = std::max<std::int64_t>(0, top), y1 = std::min(from.height, top + w.kernel);
    for (std::int64_t ox = 0; ox < to.width; ++ox) {
        const std::int64_t left = ox * w.stride - w.padding;
        const std::int64_t x0 = std::max<std::int64_t>(0, left), x1 = std::min(from.width, left + w.kernel);
        for (int v = 0; v < vectors; ++v) {
            T best = T{} - std::numeric_limits<float>::infinity();
            // The first pixel of the window, also when all are -inf.
            typename L::Int place =
                typename L::Int{} + static_cast<std::int32_t>((y0 - top) * w.kernel + x0 - left);
            for (std::int64_t iy = y0; iy < y1; ++iy)
                for (std::int64_t ix = x0; ix < x1; ++ix) {
                    const T value = L::load(x + iy * from.row_stride + ix * from.pixel_stride + v * 8);
                    const typename L::Int here =
                        typename L::Int{} + static_cast<std::int32_t>((iy - top) * w.kernel + ix - left);
                    place = value > best ? here : place;
                    best = value > best ? value : best;
                    place = value != value ? here : place;  // NaN
                    best = value != value ? value : best;
                }
            const std::int64_t at = oy * to.row_stride + ox * to.pixel_stride + v * 8;
            L::store(y + at, best);
            L::store_index(index + at, place);
        }
    }
}

// The windows that hold input row (or column) i: output rows [begin, end).
std::vector<Range> windows_over(std::int64_t inputs, std::int64_t outputs, const Window& w) {
    std::vector<Range> spans;
    for (std::int64_t i = 0; i < inputs; ++i) {
        const std::int64_t low = i + w.padding - w.kernel + 1;
        spans.push_back({low <= 0 ? 0 : (low + w.stride - 1) / w.stride,
                         std::min(outputs, (i + w.padding) / w.stride + 1)});
    }
    return spans;
}

struct Gather {
    const float *dy, *dy2;  // dy2 may be null
    const std::uint8_t* index;
    float* dx;
    const Range *over_rows, *over_columns;
};

template <typename T, bool second>
ONECYCLE_INLINE void gather_pixels(PixelView from, PixelView to, Window w, Gather g, Range rows) {
    using L = Lane<T>;
    const int vectors = std::max(1, to.vectors);
    for (std::int64_t iy = rows.begin; iy < rows.end; ++iy)
        for (std::int64_t ix = 0; ix < to.width; ++ix)
            for (int v = 0; v < vectors; ++v) {
                T sum{};
                for (std::int64_t oy = g.over_rows[iy].begin; oy < g.over_rows[iy].end; ++oy)
                    for (std::int64_t ox = g.over_columns[ix].begin; ox < g.over_columns[ix].end; ++ox) {
                        const std::int64_t at = oy * from.row_stride + ox * from.pixel_stride + v * 8;
                        const auto place = static_cast<std::int32_t>(
                            (iy + w.padding - oy * w.stride) * w.kernel + (ix + w.padding - ox * w.stride));
                        T value = L::load(g.dy + at);
                        if constexpr (second) value = value + L::load(g.dy2 + at);
                        sum = sum + (L::load_index(g.index + at) == typename L::Int{} + place ? value : T{});
                    }
                L::store(g.dx + iy * to.row_stride + ix * to.pixel_stride + v * 8, sum);
            }
}

ONECYCLE_CLONES
void pool_rows(const PixelView& from, const PixelView& to, const Window& w, const float* x, float* y,
               std::uint8_t* index, Range rows) {
    for (std::int64_t oy = rows.begin; oy < rows.end; ++oy)
        from.vectors ? pool_pixels<Float8>(from, to, w, x, y, index, oy)
                     : pool_pixels<float>(from, to, w, x, y, index, oy);
}

ONECYCLE_CLONES
void gather_rows(const PixelView& from, const PixelView& to, const Window& w, const Gather& g, Range rows) {
    if (to.vectors)
        g.dy2 ? gather_pixels<Float8, true>(from, to, w, g, rows)
              : gather_pixels<Float8, false>(from, to, w, g, rows);
    else
        g.dy2 ? gather_pixels<float, true>(from, to, w, g, rows)
              : gather_pixels<float, false>(from, to, w, g, rows);
}

void check(const OpDesc& desc, const TensorDesc& x, const TensorDesc& y, const TensorDesc& index) {
    require(x.rank == 4 && x.type == DType::f32, desc, "x is not an activation of floats");
    require_window(desc, x, y, index);
}

// f(offset of the plane in the first view, in the second, row range), in pieces of planes.
template <typename F>
void for_planes(int threads, const PixelView& walked, const PixelView& other, const F& f) {
    // Few large planes are cut into rows, so that one image still keeps all threads busy.
    const std::int64_t planes = walked.images * walked.groups;
    const std::int64_t cuts = std::min(walked.height, std::max<std::int64_t>(1, 64 / planes));
    parallel_for(threads, planes * cuts, [&](std::int64_t piece) {
        const std::int64_t plane = piece / cuts, image = plane / walked.groups, group = plane % walked.groups;
        f(image * walked.image_stride + group * walked.group_stride,
          image * other.image_stride + group * other.group_stride,
          part_of(walked.height, piece % cuts, cuts));
    });
}

}  // namespace

BuiltOp make_max_pool(const OpDesc& given, const Context& context) {
    require_operands(given, 1, 2);
    OpDesc desc = given;
    adopt_layout(desc, 0, desc.inputs[0].layout);
    adopt_layout(desc, 1, desc.inputs[0].layout);
    check(desc, desc.inputs[0], desc.outputs[0], desc.outputs[1]);
    const PixelView from(desc.inputs[0]), to(desc.outputs[0]);
    const Window window{desc.kernel, desc.stride, desc.padding};
    return op_from(desc, 0, [=, threads = context.threads](void* const* in, void* const* out, void*) {
        for_planes(threads, to, from, [&](std::int64_t y, std::int64_t x, Range rows) {
            pool_rows(from, to, window, floats(in[0]) + x, floats_out(out[0]) + y,
                      static_cast<std::uint8_t*>(out[1]) + y, rows);
        });
    });
}

BuiltOp make_max_pool_backward(const OpDesc& given, const Context& context) {
    const bool second = given.second_gradient;
    require_operands(given, second ? 3 : 2, 1);
    OpDesc desc = given;
    adopt_layout(desc, 0, desc.inputs[0].layout);
    check(desc, desc.outputs[0], desc.inputs[0], desc.inputs[1]);
    if (second) require_like(desc, desc.inputs[2], desc.inputs[0], "dy2");
    const PixelView from(desc.inputs[0]), to(desc.outputs[0]);
    const Window window{desc.kernel, desc.stride, desc.padding};
    return op_from(desc, 0,
                   [=, threads = context.threads, over_rows = windows_over(to.height, from.height, window),
                    over_columns = windows_over(to.width, from.width, window)](void* const* in,
                                                                               void* const* out, void*) {
                       for_planes(threads, to, from, [&](std::int64_t dx, std::int64_t dy, Range rows) {
                           const Gather gather{.dy = floats(in[0]) + dy,
                                               .dy2 = second ? floats(in[2]) + dy : nullptr,
                                               .index = static_cast<const std::uint8_t*>(in[1]) + dy,
                                               .dx = floats_out(out[0]) + dx,
                                               .over_rows = over_rows.data(),
                                               .over_columns = over_columns.data()};
                           gather_rows(from, to, window, gather, rows);
                       });
                   });
}

}  // namespace onecycle::cpu
