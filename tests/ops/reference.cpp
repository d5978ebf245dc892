#include "ops/reference.h"

#include <cmath>
#include <stdexcept>

#include "rules/control.h"
#include "rules/rng.h"

namespace onecycle::testing {

namespace {

using Index = std::int64_t;

// A value by its four indices.
struct Grid {
    const TensorDesc* shape;
    Values* values;
    double& operator()(Index a, Index b, Index c, Index d) const {
        const TensorDesc& s = *shape;
        return (*values)[static_cast<std::size_t>(((a * s[1] + b) * s[2] + c) * s[3] + d)];
    }
};

Values zeros(const TensorDesc& t) {
    return Values(static_cast<std::size_t>(t.elements()), 0.0);
}

// Visits every product of a convolution: f(n, o, oy, ox, i, iy, ix, ky, kx).
template <typename F>
void convolve(const OpDesc& desc, const TensorDesc& x, const TensorDesc& y, const F& f) {
    for (Index n = 0; n < y[0]; ++n)
        for (Index o = 0; o < y[1]; ++o)
            for (Index oy = 0; oy < y[2]; ++oy)
                for (Index ox = 0; ox < y[3]; ++ox)
                    for (Index i = 0; i < x[1]; ++i)
                        for (Index ky = 0; ky < desc.kernel; ++ky)
                            for (Index kx = 0; kx < desc.kernel; ++kx) {
                                const Index iy = oy * desc.stride - desc.padding + ky;
                                const Index ix = ox * desc.stride - desc.padding + kx;
                                if (iy < 0 || iy >= x[2] || ix < 0 || ix >= x[3]) continue;
                                f(n, o, oy, ox, i, iy, ix, ky, kx);
                            }
}

std::vector<Values> convolution(const OpDesc& desc, std::vector<Values> in) {
    std::vector<Values> out = {zeros(desc.outputs[0])};
    if (desc.kind == OpKind::conv2d) {
        const Grid x{&desc.inputs[0], &in[0]}, w{&desc.inputs[1], &in[1]}, y{&desc.outputs[0], &out[0]};
        convolve(desc, *x.shape, *y.shape,
                 [&](auto n, auto o, auto oy, auto ox, auto i, auto iy, auto ix, auto ky, auto kx) {
                     y(n, o, oy, ox) += x(n, i, iy, ix) * w(o, i, ky, kx);
                 });
    } else if (desc.kind == OpKind::conv2d_backward_data) {
        if (desc.accumulate) out[0] = in[2];
        const Grid y{&desc.inputs[0], &in[0]}, w{&desc.inputs[1], &in[1]}, x{&desc.outputs[0], &out[0]};
        convolve(desc, *x.shape, *y.shape,
                 [&](auto n, auto o, auto oy, auto ox, auto i, auto iy, auto ix, auto ky, auto kx) {
                     x(n, i, iy, ix) += y(n, o, oy, ox) * w(o, i, ky, kx);
                 });
    } else {
        const Grid y{&desc.inputs[0], &in[0]}, x{&desc.inputs[1], &in[1]}, w{&desc.outputs[0], &out[0]};
        convolve(desc, *x.shape, *y.shape,
                 [&](auto n, auto o, auto oy, auto ox, auto i, auto iy, auto ix, auto ky, auto kx) {
                     w(o, i, ky, kx) += x(n, i, iy, ix) * y(n, o, oy, ox);
                 });
    }
    return out;
}

Index pixels_of(const TensorDesc& t) {
    return t.rank == 2 ? 1 : t[2] * t[3];  // features have none
}

// f(flat index, channel)
template <typename F>
void for_channels(const TensorDesc& t, const F& f) {
    std::size_t k = 0;
    for (Index n = 0; n < t[0]; ++n)
        for (Index c = 0; c < t[1]; ++c)
            for (Index p = 0; p < pixels_of(t); ++p) f(k++, static_cast<std::size_t>(c));
}

std::vector<Values> batch_norm(const OpDesc& desc, const std::vector<Values>& in) {
    const TensorDesc& shape = desc.inputs[0];
    const bool inference = desc.kind == OpKind::batch_norm_inference;
    const auto channels = static_cast<std::size_t>(shape[1]);
    const double count = static_cast<double>(shape[0] * pixels_of(shape));
    Values mean(channels), variance(channels), y(in[0].size());
    if (inference) {
        mean = in[3];
        variance = in[4];
    } else {
        for_channels(shape, [&](std::size_t k, std::size_t c) { mean[c] += in[0][k] / count; });
        for_channels(shape, [&](std::size_t k, std::size_t c) {
            variance[c] += (in[0][k] - mean[c]) * (in[0][k] - mean[c]) / count;
        });
    }
    for_channels(shape, [&](std::size_t k, std::size_t c) {
        y[k] = in[1][c] * (in[0][k] - mean[c]) / std::sqrt(variance[c] + desc.epsilon) + in[2][c];
        if (desc.residual) y[k] += in.back()[k];
        if (desc.relu) y[k] = std::max(0.0, y[k]);
    });
    if (inference) return {y};
    return {y, mean, variance};
}

std::vector<Values> batch_norm_backward(const OpDesc& desc, const std::vector<Values>& in) {
    const TensorDesc& shape = desc.inputs[1];
    const Values &dy = in[0], &x = in[1], &mean = in[2], &variance = in[3], &gamma = in[4], &beta = in[5];
    const auto channels = static_cast<std::size_t>(shape[1]);
    const double count = static_cast<double>(shape[0] * pixels_of(shape));
    const auto scale = [&](std::size_t c) { return 1 / std::sqrt(variance[c] + desc.epsilon); };
    Values g(x.size()), dx(x.size()), dgamma(channels), dbeta(channels);
    for_channels(shape, [&](std::size_t k, std::size_t c) {
        g[k] = dy[k] + (desc.second_gradient ? in[6][k] : 0.0);
        const double y = desc.residual ? in.back()[k] : gamma[c] * (x[k] - mean[c]) * scale(c) + beta[c];
        if (desc.relu && y <= 0) g[k] = 0;
        dbeta[c] += g[k];
        dgamma[c] += g[k] * (x[k] - mean[c]) * scale(c);
    });
    for_channels(shape, [&](std::size_t k, std::size_t c) {
        dx[k] =
            gamma[c] * scale(c) * (g[k] - dbeta[c] / count - (x[k] - mean[c]) * scale(c) * dgamma[c] / count);
    });
    std::vector<Values> out = {dx, dgamma, dbeta};
    if (desc.residual) out.push_back(g);
    return out;
}

std::vector<Values> batch_norm_statistics(const OpDesc& desc, const std::vector<Values>& in) {
    OpDesc whole = desc;
    whole.kind = OpKind::batch_norm;
    const Values any(static_cast<std::size_t>(desc.inputs[0][1]));
    const std::vector<Values> out = batch_norm(whole, {in[0], any, any});
    return {out[1], out[2]};
}

std::vector<Values> batch_norm_gradients(const OpDesc& desc, const std::vector<Values>& in) {
    std::vector<Values> out = batch_norm_backward(desc, in);
    out.erase(out.begin());
    return out;
}

// With dgamma and dbeta given, of any batch.
std::vector<Values> batch_norm_input_gradient(const OpDesc& desc, const std::vector<Values>& in) {
    const TensorDesc& shape = desc.inputs[1];
    const Values &x = in[1], &mean = in[2], &variance = in[3], &gamma = in[4], &beta = in[5], &dgamma = in[6],
                 &dbeta = in[7];
    const double count = static_cast<double>(shape[0] * pixels_of(shape));
    Values dx(x.size());
    for_channels(shape, [&](std::size_t k, std::size_t c) {
        const double r = 1 / std::sqrt(variance[c] + desc.epsilon), normal = (x[k] - mean[c]) * r;
        double g = in[0][k] + (desc.second_gradient ? in[8][k] : 0.0);
        if (desc.relu && gamma[c] * normal + beta[c] <= 0) g = 0;
        dx[k] = gamma[c] * r * (g - dbeta[c] / count - normal * dgamma[c] / count);
    });
    return {dx};
}

// f(output index, input index, place) for every pixel of every window, windows and pixels in order.
template <typename F>
void for_windows(const OpDesc& desc, const TensorDesc& x, const TensorDesc& y, const F& f) {
    for (Index plane = 0; plane < y[0] * y[1]; ++plane)
        for (Index oy = 0; oy < y[2]; ++oy)
            for (Index ox = 0; ox < y[3]; ++ox)
                for (Index k = 0; k < desc.kernel * desc.kernel; ++k) {
                    const Index iy = oy * desc.stride - desc.padding + k / desc.kernel;
                    const Index ix = ox * desc.stride - desc.padding + k % desc.kernel;
                    if (iy < 0 || iy >= x[2] || ix < 0 || ix >= x[3]) continue;
                    f(static_cast<std::size_t>((plane * y[2] + oy) * y[3] + ox),
                      static_cast<std::size_t>((plane * x[2] + iy) * x[3] + ix), k);
                }
}

std::vector<Values> max_pool(const OpDesc& desc, const std::vector<Values>& in) {
    Values y = zeros(desc.outputs[0]), index = zeros(desc.outputs[0]);
    std::vector<bool> seen(y.size());
    for_windows(desc, desc.inputs[0], desc.outputs[0], [&](std::size_t o, std::size_t i, Index k) {
        if (seen[o] && !(in[0][i] > y[o]) && !std::isnan(in[0][i])) return;
        seen[o] = true;
        y[o] = in[0][i];
        index[o] = static_cast<double>(k);
    });
    return {y, index};
}

std::vector<Values> max_pool_backward(const OpDesc& desc, const std::vector<Values>& in) {
    Values dx = zeros(desc.outputs[0]);
    for_windows(desc, desc.outputs[0], desc.inputs[0], [&](std::size_t o, std::size_t i, Index k) {
        if (static_cast<double>(k) == in[1][o]) dx[i] += in[0][o] + (desc.second_gradient ? in[2][o] : 0.0);
    });
    return {dx};
}

// The fused kinds, each as its definition in ops.h says.
std::vector<Values> batch_norm_pair(const OpDesc& desc, const std::vector<Values>& in) {
    const double count = static_cast<double>(desc.inputs[0][0] * desc.inputs[0][2] * desc.inputs[0][3]);
    const auto channels = static_cast<std::size_t>(desc.inputs[0][1]);
    std::vector<Values> out = {Values(in[0].size()), Values(channels), Values(channels), Values(channels),
                               Values(channels)};
    for (std::size_t i = 0; i < 2; ++i) {
        const Values &x = in[3 * i], &gamma = in[3 * i + 1], &beta = in[3 * i + 2];
        Values &mean = out[1 + 2 * i], &variance = out[2 + 2 * i];
        for_channels(desc.inputs[0], [&](std::size_t k, std::size_t c) { mean[c] += x[k] / count; });
        for_channels(desc.inputs[0], [&](std::size_t k, std::size_t c) {
            variance[c] += (x[k] - mean[c]) * (x[k] - mean[c]) / count;
        });
        for_channels(desc.inputs[0], [&](std::size_t k, std::size_t c) {
            out[0][k] += gamma[c] * (x[k] - mean[c]) / std::sqrt(variance[c] + desc.epsilon) + beta[c];
        });
    }
    for (double& y : out[0]) y = std::max(0.0, y);
    return out;
}

std::vector<Values> batch_norm_pair_backward(const OpDesc& desc, const std::vector<Values>& in) {
    const TensorDesc& shape = desc.inputs[1];
    const auto channels = static_cast<std::size_t>(shape[1]);
    const double count = static_cast<double>(shape[0] * pixels_of(shape));
    Values g = in[0];
    for (std::size_t k = 0; k < g.size(); ++k) {
        if (desc.second_gradient) g[k] += in[10][k];
        if (in[9][k] <= 0) g[k] = 0;
    }
    std::vector<Values> out;
    for (std::size_t i = 0; i < 2; ++i) {
        const Values &x = in[1 + 4 * i], &mean = in[2 + 4 * i], &variance = in[3 + 4 * i],
                     &gamma = in[4 + 4 * i];
        const auto normal = [&](std::size_t k, std::size_t c) {
            return (x[k] - mean[c]) / std::sqrt(variance[c] + desc.epsilon);
        };
        Values dx(g.size()), dgamma(channels), dbeta(channels);
        for_channels(shape, [&](std::size_t k, std::size_t c) {
            dbeta[c] += g[k];
            dgamma[c] += g[k] * normal(k, c);
        });
        for_channels(shape, [&](std::size_t k, std::size_t c) {
            dx[k] = gamma[c] / std::sqrt(variance[c] + desc.epsilon) *
                    (g[k] - dbeta[c] / count - normal(k, c) * dgamma[c] / count);
        });
        out.insert(out.end(), {dx, dgamma, dbeta});
    }
    return out;
}

std::vector<Values> batch_norm_max_pool(OpDesc desc, const std::vector<Values>& in) {
    desc.kind = OpKind::batch_norm;
    desc.relu = true;
    const std::vector<Values> norm = batch_norm(desc, in);
    const std::vector<Values> pool = max_pool(desc, {norm[0]});
    return {pool[0], pool[1], norm[1], norm[2]};
}

std::vector<Values> batch_norm_max_pool_backward(const OpDesc& desc, const std::vector<Values>& in) {
    const TensorDesc &dy = desc.inputs[0], &x = desc.inputs[2], vector{x[1]};
    OpDesc pool = desc, norm = desc;
    pool.inputs = {dy, desc.inputs[1], dy};
    pool.outputs = {x};
    const Values gathered =
        max_pool_backward(pool, {in[0], in[1], desc.second_gradient ? in[7] : Values{}})[0];
    norm.relu = true;
    norm.second_gradient = false;
    norm.inputs = {x, x, vector, vector, vector, vector};
    return batch_norm_backward(norm, {gathered, in[2], in[3], in[4], in[5], in[6]});
}

std::vector<Values> softmax_cross_entropy(const OpDesc& desc, const std::vector<Values>& in) {
    const auto classes = static_cast<std::size_t>(desc.inputs[0][1]);
    const auto count = static_cast<std::size_t>(in[2][0]);
    const double s = static_cast<double>(desc.label_smoothing), all = static_cast<double>(classes);
    const auto weight = [&](std::size_t c) { return desc.class_weights ? in[3][c] : 1.0; };
    double loss = 0, total = 0, weights = 0, correct = 0, correct5 = 0;
    for (std::size_t c = 0; c < classes; ++c) weights += weight(c);
    // Of mixed samples, what f says of each label, by its share.
    const std::size_t pairs_at = in.size() - 2;
    const auto share = [&](std::size_t i) { return desc.label_pairs ? in[pairs_at + 1][i] : 1.0; };
    const auto both = [&](std::size_t i, const auto& f) {
        const double first = f(static_cast<std::size_t>(in[1][i]));
        if (!desc.label_pairs) return first;
        return share(i) * first + (1 - share(i)) * f(static_cast<std::size_t>(in[pairs_at][i]));
    };
    for (std::size_t i = 0; i < count; ++i) total += both(i, weight);
    Values gradient = zeros(desc.inputs[0]);
    for (std::size_t i = 0; i < count; ++i) {
        const double* x = in[0].data() + i * classes;
        const auto label = static_cast<std::size_t>(in[share(i) < 0.5 ? pairs_at : 1][i]);
        double sum = 0;
        for (std::size_t c = 0; c < classes; ++c) sum += std::exp(x[c]);
        int better = 0;
        for (std::size_t c = 0; c < classes; ++c) {
            const double log_p = x[c] - std::log(sum);
            // The target distribution with its class weight.
            const double hard = both(i, [&](std::size_t t) { return static_cast<double>(c == t); });
            const double q = ((1 - s) * hard + s / all) * weight(c);
            loss -= q * log_p;
            gradient[i * classes + c] =
                (std::exp(log_p) * ((1 - s) * both(i, weight) + s / all * weights) - q) / total;
            better += x[c] > x[label] || (x[c] == x[label] && c < label);
        }
        correct += better == 0;
        correct5 += better < 5;
    }
    std::vector<Values> out = {{loss / total, loss, total, static_cast<double>(count), correct, correct5}};
    if (desc.gradient) out.push_back(gradient);
    return out;
}

std::vector<Values> matrix_product(const OpDesc& desc, const std::vector<Values>& in) {
    const bool forward = desc.kind == OpKind::linear, data = desc.kind == OpKind::linear_backward_data;
    const auto n = static_cast<std::size_t>(desc.inputs[0][0]);
    const auto o = static_cast<std::size_t>(forward ? desc.inputs[1][0] : desc.inputs[0][1]);
    const auto k = static_cast<std::size_t>(desc.inputs[1][1]);
    std::vector<Values> out;
    for (const TensorDesc& t : desc.outputs) out.push_back(zeros(t));
    for (std::size_t i = 0; i < n; ++i)
        for (std::size_t c = 0; c < o; ++c) {
            if (forward && desc.bias) out[0][i * o + c] = in[2][c];
            if (!forward && !data && desc.bias) out[1][c] += in[0][i * o + c];
            for (std::size_t j = 0; j < k; ++j) {
                if (forward) out[0][i * o + c] += in[0][i * k + j] * in[1][c * k + j];
                if (data) out[0][i * k + j] += in[0][i * o + c] * in[1][c * k + j];
                if (!forward && !data) out[0][c * k + j] += in[0][i * o + c] * in[1][i * k + j];
            }
        }
    return out;
}

// NaN is above everything; of equal values the first counts.
// Window by window, as PyTorch's documentation describes them; backward the same sums the other
// way.
Values adaptive_average_pool(const OpDesc& desc, const Values& in) {
    const bool backward = desc.kind == OpKind::adaptive_average_pool_backward;
    const TensorDesc& x = backward ? desc.outputs[0] : desc.inputs[0];
    const std::int64_t planes = x[0] * x[1], height = x[2], width = x[3], side = desc.kernel;
    Values out(static_cast<std::size_t>(planes * (backward ? height * width : side * side)), 0.0);
    for (std::int64_t plane = 0; plane < planes; ++plane)
        for (std::int64_t i = 0; i < side; ++i)
            for (std::int64_t j = 0; j < side; ++j) {
                const std::int64_t top = i * height / side, bottom = ((i + 1) * height + side - 1) / side,
                                   left = j * width / side, right = ((j + 1) * width + side - 1) / side;
                const double area = static_cast<double>((bottom - top) * (right - left));
                const auto y = static_cast<std::size_t>((plane * side + i) * side + j);
                for (std::int64_t h = top; h < bottom; ++h)
                    for (std::int64_t w = left; w < right; ++w) {
                        const auto p = static_cast<std::size_t>((plane * height + h) * width + w);
                        if (backward)
                            out[p] += in[y] / area;
                        else
                            out[y] += in[p] / area;
                    }
            }
    return out;
}

std::vector<Values> concat_pool(const OpDesc& desc, const std::vector<Values>& in) {
    const TensorDesc& x = desc.inputs[0];
    const auto images = static_cast<std::size_t>(x[0]), channels = static_cast<std::size_t>(x[1]),
               pixels = static_cast<std::size_t>(x[2] * x[3]);
    Values y(images * 2 * channels), index(images * channels);
    for (std::size_t n = 0; n < images; ++n)
        for (std::size_t c = 0; c < channels; ++c) {
            const double* at = in[0].data() + (n * channels + c) * pixels;
            std::size_t best = 0;
            double sum = 0;
            for (std::size_t p = 0; p < pixels; ++p) {
                sum += at[p];
                if (!std::isnan(at[best]) && (at[p] > at[best] || std::isnan(at[p]))) best = p;
            }
            y[n * 2 * channels + c] = at[best];
            y[(n * 2 + 1) * channels + c] = sum / static_cast<double>(pixels);
            index[n * channels + c] = static_cast<double>(best);
        }
    return {y, index};
}

std::vector<Values> concat_pool_backward(const OpDesc& desc, const std::vector<Values>& in) {
    const TensorDesc& x = desc.outputs[0];
    const auto channels = static_cast<std::size_t>(x[1]), pixels = static_cast<std::size_t>(x[2] * x[3]);
    Values dx = zeros(x);
    for (std::size_t k = 0; k < dx.size(); ++k) {
        const std::size_t plane = k / pixels, n = plane / channels, c = plane % channels;
        dx[k] = in[0][(n * 2 + 1) * channels + c] / static_cast<double>(pixels);
        if (static_cast<double>(k % pixels) == in[1][plane]) dx[k] += in[0][n * 2 * channels + c];
    }
    return {dx};
}

// The numbers one after the other, as a stream gives them.
Values dropout(const OpDesc& desc, const std::vector<Values>& in) {
    StepControl control;
    for (std::size_t b = 0; b < sizeof control; ++b)
        reinterpret_cast<unsigned char*>(&control)[b] = static_cast<unsigned char>(in[1][b]);
    RandomStream stream(desc.seed, RandomPurpose::dropout, static_cast<std::uint32_t>(control.update),
                        desc.dropout_layer + (static_cast<std::uint64_t>(control.micro) << 32));
    Values y = in[0];
    for (double& value : y) value *= stream.uniform() >= desc.dropout ? 1 / (1 - desc.dropout) : 0;
    return y;
}

}  // namespace

std::vector<Values> reference(const OpDesc& desc, const std::vector<Values>& in) {
    Values out = zeros(desc.outputs[0]);
    switch (desc.kind) {
        case OpKind::normalize_images: {
            const TensorDesc &from = desc.inputs[0], &to = desc.outputs[0];
            const Index pixels = to[2] * to[3];
            for (std::size_t k = 0; k < out.size(); ++k) {
                const Index i = static_cast<Index>(k), n = i / (3 * pixels), c = i / pixels % 3,
                            p = i % pixels;
                const auto channel = static_cast<std::size_t>(c);
                out[k] = (in[0][static_cast<std::size_t>((n * pixels + p) * from[3] + c)] / 255 -
                          static_cast<double>(desc.mean[channel])) /
                         static_cast<double>(desc.stddev[channel]);
            }
            return {out};
        }
        case OpKind::conv2d:
        case OpKind::conv2d_backward_data:
        case OpKind::conv2d_backward_weights:
            return convolution(desc, in);
        case OpKind::batch_norm:
        case OpKind::batch_norm_inference:
            return batch_norm(desc, in);
        case OpKind::batch_norm_backward:
            return batch_norm_backward(desc, in);
        case OpKind::batch_norm_statistics:
            return batch_norm_statistics(desc, in);
        case OpKind::batch_norm_gradients:
            return batch_norm_gradients(desc, in);
        case OpKind::batch_norm_input_gradient:
            return batch_norm_input_gradient(desc, in);
        case OpKind::batch_norm_pair:
            return batch_norm_pair(desc, in);
        case OpKind::batch_norm_pair_backward:
            return batch_norm_pair_backward(desc, in);
        case OpKind::batch_norm_max_pool:
            return batch_norm_max_pool(desc, in);
        case OpKind::batch_norm_max_pool_backward:
            return batch_norm_max_pool_backward(desc, in);
        case OpKind::relu:
            for (std::size_t k = 0; k < out.size(); ++k) out[k] = std::max(0.0, in[0][k]);
            return {out};
        case OpKind::relu_backward:
            for (std::size_t k = 0; k < out.size(); ++k) out[k] = in[1][k] > 0 ? in[0][k] : 0;
            return {out};
        case OpKind::add:
            for (std::size_t k = 0; k < out.size(); ++k) out[k] = in[0][k] + in[1][k];
            return {out};
        case OpKind::max_pool:
            return max_pool(desc, in);
        case OpKind::max_pool_backward:
            return max_pool_backward(desc, in);
        case OpKind::global_average_pool: {
            const std::size_t pixels = in[0].size() / out.size();
            for (std::size_t k = 0; k < in[0].size(); ++k)
                out[k / pixels] += in[0][k] / static_cast<double>(pixels);
            return {out};
        }
        case OpKind::global_average_pool_backward: {
            const std::size_t pixels = out.size() / in[0].size();
            for (std::size_t k = 0; k < out.size(); ++k)
                out[k] = in[0][k / pixels] / static_cast<double>(pixels);
            return {out};
        }
        case OpKind::adaptive_average_pool:
        case OpKind::adaptive_average_pool_backward:
            return {adaptive_average_pool(desc, in[0])};
        case OpKind::add_channel_bias: {
            const auto pixels = static_cast<std::size_t>(desc.inputs[0][2] * desc.inputs[0][3]);
            for (std::size_t k = 0; k < out.size(); ++k) out[k] = in[0][k] + in[1][k / pixels % in[1].size()];
            return {out};
        }
        case OpKind::channel_bias_gradient: {
            const auto pixels = static_cast<std::size_t>(desc.inputs[0][2] * desc.inputs[0][3]);
            for (std::size_t k = 0; k < in[0].size(); ++k) out[k / pixels % out.size()] += in[0][k];
            return {out};
        }
        case OpKind::concat_pool:
            return concat_pool(desc, in);
        case OpKind::concat_pool_backward:
            return concat_pool_backward(desc, in);
        case OpKind::dropout:
            return {dropout(desc, in)};
        case OpKind::linear:
        case OpKind::linear_backward_data:
        case OpKind::linear_backward_weights:
            return matrix_product(desc, in);
        case OpKind::softmax_cross_entropy:
            return softmax_cross_entropy(desc, in);
        case OpKind::softmax: {
            const auto classes = static_cast<std::size_t>(desc.inputs[0][1]);
            for (std::size_t row = 0; row < out.size(); row += classes) {
                double sum = 0;
                for (std::size_t c = 0; c < classes; ++c) sum += std::exp(in[0][row + c]);
                for (std::size_t c = 0; c < classes; ++c) out[row + c] = std::exp(in[0][row + c]) / sum;
            }
            return {out};
        }
        default:
            throw std::logic_error(std::string("no reference for ") + name_of(desc.kind));
    }
}

}  // namespace onecycle::testing
