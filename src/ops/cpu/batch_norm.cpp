// Batch norm, forward. Training takes two passes over memory: one reads x for the statistics, one
// reads x and writes y, with the residual addition and the ReLU inside. Plain-loop equivalent, for
// a channel c:
//   mean = sum(x) / M;  variance = sum((x - mean)^2) / M;  M = N*H*W
//   y = max(0, gamma (x - mean) / sqrt(variance + epsilon) + beta + residual)
#include "ops/cpu/batch_norm.h"

#include "ops/cpu/builders.h"

namespace onecycle::cpu {

using simd::Float16;
using namespace simd;  // operators

namespace {

// Sums of d and d*d with d = x - shift, by lane. The shift is the channel's first value, so that
// the variance does not come out as a difference of large numbers. Reads x once.
ONECYCLE_CLONES
void sum_deviations(const ChannelView& v, const float* x, Range images, std::int64_t group, double* sums) {
    float first[lanes];
    for (std::int64_t l = 0; l < lanes; ++l)
        first[l] = l < v.width(group) ? x[group * v.group_stride + l % v.block] : 0.0f;
    const Float16 shift = load(first);
    const auto take = [&](std::int64_t at, auto row, Float16& sum, Float16& squares)
        __attribute__((always_inline)) {
        const Float16 d = live(load(x + at, row) - shift, row);
        sum = sum + d;
        squares = squares + d * d;
    };
    sum_rows(v, images, group, sums, take);
}

// Mean and biased variance of a group's channels, of its sums.
void finish_statistics(const ChannelView& view, const Pieces& pieces, const PartialSums& sums, const float* x,
                       std::int64_t g, float* mean, float* variance) {
    const double count = static_cast<double>(view.images * view.pixels);
    double first[lanes], second[lanes];
    sums.channel_sums(view, pieces.image_parts, g, first, second);
    for (std::int64_t l = 0; l < std::min<std::int64_t>(view.block, view.width(g)); ++l) {
        const std::int64_t c = view.channel(g, l);
        const double origin = static_cast<double>(x[g * view.group_stride + l]);
        const double deviation = first[l] / count;
        const double spread = second[l] / count - deviation * deviation;
        mean[c] = static_cast<float>(origin + deviation);
        variance[c] = static_cast<float>(spread < 0 ? 0 : spread);
    }
}

template <bool with_residual, bool with_relu>
ONECYCLE_INLINE void apply_rows(const ChannelView& v, const NormApply& o, Range images, Range groups) {
    for (std::int64_t n = images.begin; n < images.end; ++n)
        for (std::int64_t g = groups.begin; g < groups.end; ++g) {
            const Float16 scale = load(o.scale + g * lanes), shift = load(o.shift + g * lanes);
            for_plane(
                v, n, g, [&](std::int64_t at, auto row) __attribute__((always_inline)) {
                    Float16 y = normalized(load(o.x + at, row), scale, shift);
                    if constexpr (with_residual) y = y + load(o.residual + at, row);
                    if constexpr (with_relu) y = relu(y);
                    store(o.y + at, y, row);
                });
        }
}

}  // namespace

ONECYCLE_CLONES
void apply_norm(const ChannelView& v, const NormApply& o, Range images, Range groups) {
    if (o.residual)
        o.relu ? apply_rows<true, true>(v, o, images, groups) : apply_rows<true, false>(v, o, images, groups);
    else
        o.relu ? apply_rows<false, true>(v, o, images, groups)
               : apply_rows<false, false>(v, o, images, groups);
}

BuiltOp make_batch_norm(const OpDesc& given, const Context& context) {
    require_operands(given, given.residual ? 4 : 3, 3);
    OpDesc desc = given;
    const TensorDesc& x = desc.inputs[0];
    require(x.rank == 4 || x.rank == 2, desc, "x is an activation or features");
    adopt_layout(desc, 0, x.layout);
    require_like(desc, desc.outputs[0], x, "y");
    if (desc.residual) require_like(desc, desc.inputs[3], x, "residual");
    require_channel_vectors(desc, desc.inputs, {1, 2}, x[1]);
    require_channel_vectors(desc, desc.outputs, {1, 2}, x[1]);

    const ChannelView view(x);
    const Pieces pieces(view);
    const std::size_t lane_bytes = static_cast<std::size_t>(view.groups * lanes) * sizeof(float);
    const std::size_t sums_bytes = PartialSums::bytes(view, pieces);
    const int threads = context.threads;
    const bool with_relu = desc.relu, residual = desc.residual;
    const double epsilon = desc.epsilon;
    return op_from(
        desc, sums_bytes + 2 * lane_bytes, [=](void* const* in, void* const* out, void* workspace) {
            const float *values = floats(in[0]), *gamma = floats(in[1]), *beta = floats(in[2]);
            float *mean = floats_out(out[1]), *variance = floats_out(out[2]);
            const PartialSums sums{static_cast<double*>(workspace), view.groups};
            float* const scale = reinterpret_cast<float*>(static_cast<std::byte*>(workspace) + sums_bytes);
            float* const shift = scale + view.groups * lanes;
            const NormApply apply{
                values, scale, shift, residual ? floats(in[3]) : nullptr, floats_out(out[0]), with_relu};
            const auto sum = [&](std::int64_t part, std::int64_t g) {
                sum_deviations(view, values, pieces.images_of(part), g, sums.of(part, g));
            };
            const auto finish = [&](std::int64_t g) {
                finish_statistics(view, pieces, sums, values, g, mean, variance);
                spread_scale_shift(view, g, mean, variance, gamma, beta, epsilon, scale, shift);
            };
            for_groups(threads, view, pieces, sum, finish,
                       [&](Range images, Range groups) { apply_norm(view, apply, images, groups); });
        });
}

BuiltOp make_batch_norm_statistics(const OpDesc& desc, const Context& context) {
    require_operands(desc, 1, 2);
    const TensorDesc& x = desc.inputs[0];
    require(x.rank == 4 || x.rank == 2, desc, "x is an activation or features");
    require_channel_vectors(desc, desc.outputs, {0, 1}, x[1]);

    const ChannelView view(x);
    const Pieces pieces(view);
    return op_from(desc, PartialSums::bytes(view, pieces),
                   [=, threads = context.threads](void* const* in, void* const* out, void* workspace) {
                       const float* const values = floats(in[0]);
                       const PartialSums sums{static_cast<double*>(workspace), view.groups};
                       const auto sum = [&](std::int64_t part, std::int64_t g) {
                           sum_deviations(view, values, pieces.images_of(part), g, sums.of(part, g));
                       };
                       const auto finish = [&](std::int64_t g) {
                           finish_statistics(view, pieces, sums, values, g, floats_out(out[0]),
                                             floats_out(out[1]));
                       };
                       for_groups(threads, view, pieces, sum, finish, [](Range, Range) {});
                   });
}

BuiltOp make_batch_norm_inference(const OpDesc& given, const Context& context) {
    require_operands(given, given.residual ? 6 : 5, 1);
    OpDesc desc = given;
    const TensorDesc& x = desc.inputs[0];
    require(x.rank == 4 || x.rank == 2, desc, "x is an activation or features");
    adopt_layout(desc, 0, x.layout);
    require_like(desc, desc.outputs[0], x, "y");
    if (desc.residual) require_like(desc, desc.inputs[5], x, "residual");
    require_channel_vectors(desc, desc.inputs, {1, 2, 3, 4}, x[1]);

    const ChannelView view(x);
    const Pieces pieces(view);
    const int threads = context.threads;
    const bool with_relu = desc.relu, residual = desc.residual;
    const double epsilon = desc.epsilon;
    const std::size_t lane_bytes = static_cast<std::size_t>(view.groups * lanes) * sizeof(float);
    return op_from(desc, 2 * lane_bytes, [=](void* const* in, void* const* out, void* workspace) {
        const float *gamma = floats(in[1]), *beta = floats(in[2]), *mean = floats(in[3]),
                    *variance = floats(in[4]);
        float* const scale = floats_out(workspace);
        float* const shift = scale + view.groups * lanes;
        for (std::int64_t g = 0; g < view.groups; ++g)
            spread_scale_shift(view, g, mean, variance, gamma, beta, epsilon, scale, shift);
        const NormApply apply{floats(in[0]),      scale,    shift, residual ? floats(in[5]) : nullptr,
                              floats_out(out[0]), with_relu};
        parallel_for(threads, pieces.count(), [&](std::int64_t piece) {
            apply_norm(view, apply, pieces.image_range(piece), pieces.group_range(piece));
        });
    });
}

}  // namespace onecycle::cpu
