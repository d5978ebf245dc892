// Batch norm, backward, with the gradient's second summand, the ReLU and the residual's gradient
// inside. Two passes over memory. Plain-loop equivalent, for a channel c with M = N*H*W and r =
// 1/sqrt(variance + epsilon):
//   g = dy [+ dy2], 0 where the ReLU was;  dresidual = g
//   dbeta = sum(g);  dgamma = r sum(g (x - mean))
//   dx = gamma r (g - dbeta/M - (x - mean) r dgamma/M)
// The first pass forms g for the sums and, when there is a residual, writes it; the second reads it
// back, or forms it again from dy and x.
#include "ops/cpu/batch_norm.h"
#include "ops/cpu/builders.h"

namespace onecycle::cpu {

using simd::Float16;
using namespace simd;  // operators

namespace {

// How g is formed.
enum class Mask {
    none,
    from_x,  // ReLU directly after batch norm: its sign is computed again
    from_y,  // ReLU after the residual addition: the sign of y
};

struct Gradient {
    const float *dy, *dy2;       // dy2 may be null
    const float *x, *y;          // y: only with Mask::from_y
    const float *scale, *shift;  // [groups, 16], of the forward pass
    Mask mask;
};

template <Mask mask, bool second, typename Row>
ONECYCLE_INLINE Float16 gradient(const Gradient& g, const Float16& x, const Float16& scale,
                                 const Float16& shift, std::int64_t at, Row row) {
    Float16 value = load(g.dy + at, row);
    if constexpr (second) value = value + load(g.dy2 + at, row);
    if constexpr (mask == Mask::from_x) value = where_positive(normalized(x, scale, shift), value);
    if constexpr (mask == Mask::from_y) value = where_positive(load(g.y + at, row), value);
    return value;
}

// Pass 1: sums of g and of g (x - mean) by lane; writes g to `dresidual` when there is one.
template <Mask mask, bool second, bool residual>
ONECYCLE_INLINE void reduce_rows(const ChannelView& v, const Gradient& o, const float* means,
                                 float* dresidual, Range images, std::int64_t group, double* sums) {
    const Float16 scale = load(o.scale + group * lanes), shift = load(o.shift + group * lanes);
    const Float16 mean = load(means + group * lanes);
    const auto take = [&](std::int64_t at, auto row, Float16& sum, Float16& products)
        __attribute__((always_inline)) {
        const Float16 x = load(o.x + at, row);
        const Float16 g = live(gradient<mask, second>(o, x, scale, shift, at, row), row);
        if constexpr (residual) store(dresidual + at, g, row);
        sum = sum + g;
        products = products + g * (x - mean);
    };
    sum_rows(v, images, group, sums, take);
}

// Pass 2: dx = a g + b (x - mean) + c, all per channel.
struct Coefficients {
    const float *a, *b, *c, *mean;
};

template <Mask mask, bool second>
ONECYCLE_INLINE void apply_rows(const ChannelView& v, const Gradient& o, const Coefficients& k, float* dx,
                                Range images, Range groups) {
    for (std::int64_t n = images.begin; n < images.end; ++n)
        for (std::int64_t group = groups.begin; group < groups.end; ++group) {
            const std::int64_t l = group * lanes;
            const Float16 scale = load(o.scale + l), shift = load(o.shift + l);
            const Float16 a = load(k.a + l), b = load(k.b + l), c = load(k.c + l), mean = load(k.mean + l);
            for_plane(
                v, n, group, [&](std::int64_t at, auto row) __attribute__((always_inline)) {
                    const Float16 x = load(o.x + at, row);
                    const Float16 g = gradient<mask, second>(o, x, scale, shift, at, row);
                    store(dx + at, a * g + (b * (x - mean) + c), row);
                });
        }
}

ONECYCLE_CLONES
void reduce(const ChannelView& v, const Gradient& o, const float* means, float* dresidual, Range images,
            std::int64_t group, double* sums) {
    const auto with = [&]<Mask mask, bool residual>() __attribute__((always_inline)) {
        o.dy2 ? reduce_rows<mask, true, residual>(v, o, means, dresidual, images, group, sums)
              : reduce_rows<mask, false, residual>(v, o, means, dresidual, images, group, sums);
    };
    if (o.mask == Mask::from_x) return with.template operator()<Mask::from_x, false>();
    if (o.mask == Mask::from_y) return with.template operator()<Mask::from_y, true>();
    dresidual ? with.template operator()<Mask::none, true>() : with.template operator()<Mask::none, false>();
}

ONECYCLE_CLONES
void apply(const ChannelView& v, const Gradient& o, const Coefficients& k, float* dx, Range images,
           Range groups) {
    if (o.mask == Mask::from_x)
        o.dy2 ? apply_rows<Mask::from_x, true>(v, o, k, dx, images, groups)
              : apply_rows<Mask::from_x, false>(v, o, k, dx, images, groups);
    else
        o.dy2 ? apply_rows<Mask::none, true>(v, o, k, dx, images, groups)
              : apply_rows<Mask::none, false>(v, o, k, dx, images, groups);
}

// What belongs to a channel, by lane: what the first pass reads, and the coefficients of the second.
struct Vectors {
    float *scale, *shift, *means, *a, *b, *c;

    Vectors(void* workspace, std::size_t offset, std::int64_t vector)
        : scale(reinterpret_cast<float*>(static_cast<std::byte*>(workspace) + offset)),
          shift(scale + vector),
          means(shift + vector),
          a(means + vector),
          b(a + vector),
          c(b + vector) {}
    static std::size_t bytes(std::int64_t vector) {
        return 6 * static_cast<std::size_t>(vector) * sizeof(float);
    }

    // The forward pass's values, of all groups.
    void spread(const ChannelView& view, const float* mean, const float* variance, const float* gamma,
                const float* beta, double epsilon) const {
        for (std::int64_t g = 0; g < view.groups; ++g) {
            spread_scale_shift(view, g, mean, variance, gamma, beta, epsilon, scale, shift);
            for (std::int64_t l = 0; l < view.width(g); ++l) means[g * lanes + l] = mean[view.channel(g, l)];
        }
    }
    // Of lane l of group g, with its channel's gamma, r, dgamma and dbeta.
    void set_coefficients(std::int64_t g, std::int64_t l, double gamma, double r, double dgamma, double dbeta,
                          double count) const {
        const double factor = gamma * r;
        a[g * lanes + l] = static_cast<float>(factor);
        b[g * lanes + l] = static_cast<float>(-factor * r * dgamma / count);
        c[g * lanes + l] = static_cast<float>(-factor * dbeta / count);
    }
    Coefficients coefficients() const { return {a, b, c, means}; }
};

double inverse_deviation(float variance, double epsilon) {
    return 1 / std::sqrt(static_cast<double>(variance) + epsilon);
}

Mask mask_of(const OpDesc& desc) {
    return !desc.relu ? Mask::none : desc.residual ? Mask::from_y : Mask::from_x;
}

// Of the operands dy, x, mean, variance, gamma, beta, [dy2], [y].
Gradient gradient_of(void* const* in, bool second, bool residual, Mask mask, const Vectors& at) {
    return {.dy = floats(in[0]),
            .dy2 = second ? floats(in[6]) : nullptr,
            .x = floats(in[1]),
            .y = residual ? floats(in[second ? 7 : 6]) : nullptr,
            .scale = at.scale,
            .shift = at.shift,
            .mask = mask};
}

}  // namespace

BuiltOp make_batch_norm_backward(const OpDesc& given, const Context& context) {
    OpDesc desc = given;
    const bool second = desc.second_gradient, residual = desc.residual;
    require_operands(desc, 6 + (second ? 1u : 0u) + (residual ? 1u : 0u), residual ? 4 : 3);
    const TensorDesc& x = desc.inputs[1];
    require(x.rank == 4 || x.rank == 2, desc, "x is an activation or features");
    adopt_layout(desc, 0, x.layout);
    if (residual) adopt_layout(desc, 3, x.layout);
    require_like(desc, desc.inputs[0], x, "dy");
    require_like(desc, desc.outputs[0], x, "dx");
    for (std::size_t i = 6; i < desc.inputs.size(); ++i) require_like(desc, desc.inputs[i], x, "dy2 or y");
    if (residual) require_like(desc, desc.outputs[3], x, "dresidual");
    require_channel_vectors(desc, desc.inputs, {2, 3, 4, 5}, x[1]);
    require_channel_vectors(desc, desc.outputs, {1, 2}, x[1]);

    const ChannelView view(x);
    const Pieces pieces(view);
    const std::int64_t vector = view.groups * lanes;
    const std::size_t sums_bytes = PartialSums::bytes(view, pieces);
    const int threads = context.threads;
    const double epsilon = desc.epsilon;
    const Mask mask = mask_of(desc);
    return op_from(
        desc, sums_bytes + Vectors::bytes(vector), [=](void* const* in, void* const* out, void* workspace) {
            const float *variance = floats(in[3]), *gamma = floats(in[4]);
            float *dx = floats_out(out[0]), *dgamma = floats_out(out[1]), *dbeta = floats_out(out[2]);
            float* const dresidual = residual ? floats_out(out[3]) : nullptr;
            const PartialSums sums{static_cast<double*>(workspace), view.groups};
            const Vectors at(workspace, sums_bytes, vector);
            const double count = static_cast<double>(view.images * view.pixels);

            const Gradient gradient = gradient_of(in, second, residual, mask, at);
            Gradient formed = gradient;  // for the second pass
            if (residual) {
                formed.dy = dresidual;
                formed.dy2 = nullptr;
                formed.mask = Mask::none;
            }
            const auto sum = [&](std::int64_t part, std::int64_t g) {
                reduce(view, gradient, at.means, dresidual, pieces.images_of(part), g, sums.of(part, g));
            };
            const auto finish = [&](std::int64_t g) {
                double sum_g[lanes], sum_product[lanes];
                sums.channel_sums(view, pieces.image_parts, g, sum_g, sum_product);
                for (std::int64_t l = 0; l < view.width(g); ++l) {
                    const std::int64_t k = view.channel(g, l);
                    const double r = inverse_deviation(variance[k], epsilon);
                    const double total = sum_g[l % view.block], product = sum_product[l % view.block] * r;
                    at.set_coefficients(g, l, static_cast<double>(gamma[k]), r, product, total, count);
                    dbeta[k] = static_cast<float>(total);
                    dgamma[k] = static_cast<float>(product);
                }
            };
            at.spread(view, floats(in[2]), variance, gamma, floats(in[5]), epsilon);
            for_groups(threads, view, pieces, sum, finish, [&](Range images, Range groups) {
                apply(view, formed, at.coefficients(), dx, images, groups);
            });
        });
}

BuiltOp make_batch_norm_gradients(const OpDesc& given, const Context& context) {
    OpDesc desc = given;
    const bool second = desc.second_gradient, residual = desc.residual;
    require_batch_norm_gradients(desc);
    const TensorDesc& x = desc.inputs[1];
    require(x.rank == 4 || x.rank == 2, desc, "x is an activation or features");

    const ChannelView view(x);
    const Pieces pieces(view);
    const std::int64_t vector = view.groups * lanes;
    const std::size_t sums_bytes = PartialSums::bytes(view, pieces);
    const int threads = context.threads;
    const double epsilon = desc.epsilon;
    const Mask mask = mask_of(desc);
    return op_from(
        desc, sums_bytes + Vectors::bytes(vector), [=](void* const* in, void* const* out, void* workspace) {
            const float* const variance = floats(in[3]);
            float *dgamma = floats_out(out[0]), *dbeta = floats_out(out[1]);
            float* const dresidual = residual ? floats_out(out[2]) : nullptr;
            const PartialSums sums{static_cast<double*>(workspace), view.groups};
            const Vectors at(workspace, sums_bytes, vector);
            const Gradient gradient = gradient_of(in, second, residual, mask, at);
            const auto sum = [&](std::int64_t part, std::int64_t g) {
                reduce(view, gradient, at.means, dresidual, pieces.images_of(part), g, sums.of(part, g));
            };
            const auto finish = [&](std::int64_t g) {
                double sum_g[lanes], sum_product[lanes];
                sums.channel_sums(view, pieces.image_parts, g, sum_g, sum_product);
                for (std::int64_t l = 0; l < view.width(g); ++l) {
                    const std::int64_t k = view.channel(g, l);
                    dbeta[k] = static_cast<float>(sum_g[l % view.block]);
                    dgamma[k] = static_cast<float>(sum_product[l % view.block] *
                                                   inverse_deviation(variance[k], epsilon));
                }
            };
            at.spread(view, floats(in[2]), variance, floats(in[4]), floats(in[5]), epsilon);
            for_groups(threads, view, pieces, sum, finish, [](Range, Range) {});
        });
}

BuiltOp make_batch_norm_input_gradient(const OpDesc& given, const Context& context) {
    OpDesc desc = given;
    const bool second = desc.second_gradient;
    require_batch_norm_input_gradient(desc);
    const TensorDesc& x = desc.inputs[1];
    require(x.rank == 4 || x.rank == 2, desc, "x is an activation or features");

    const ChannelView view(x);
    const Pieces pieces(view);
    const std::int64_t vector = view.groups * lanes;
    const double epsilon = desc.epsilon;
    const Mask mask = mask_of(desc);
    return op_from(desc, Vectors::bytes(vector),
                   [=, threads = context.threads](void* const* in, void* const* out, void* workspace) {
                       const float *variance = floats(in[3]), *gamma = floats(in[4]), *dgamma = floats(in[6]),
                                   *dbeta = floats(in[7]);
                       const Vectors at(workspace, 0, vector);
                       const double count = static_cast<double>(view.images * view.pixels);
                       at.spread(view, floats(in[2]), variance, gamma, floats(in[5]), epsilon);
                       for (std::int64_t g = 0; g < view.groups; ++g)
                           for (std::int64_t l = 0; l < view.width(g); ++l) {
                               const std::int64_t k = view.channel(g, l);
                               at.set_coefficients(g, l, static_cast<double>(gamma[k]),
                                                   inverse_deviation(variance[k], epsilon),
                                                   static_cast<double>(dgamma[k]),
                                                   static_cast<double>(dbeta[k]), count);
                           }
                       Gradient gradient = gradient_of(in, false, false, mask, at);
                       if (second) gradient.dy2 = floats(in[8]);
                       parallel_for(threads, pieces.count(), [&](std::int64_t piece) {
                           apply(view, gradient, at.coefficients(), floats_out(out[0]),
                                 pieces.image_range(piece), pieces.group_range(piece));
                       });
                   });
}

}  // namespace onecycle::cpu
