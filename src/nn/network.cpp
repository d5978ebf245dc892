#include "onecycle/network.h"

#include <algorithm>

#include "onecycle/error.h"

namespace onecycle {

namespace {

std::array<std::int64_t, 3> window_shape(const std::string& name, const Layer& x, std::int64_t channels,
                                         int kernel, int stride, int padding) {
    const auto extent = [&](std::int64_t in) { return (in + 2 * padding - kernel) / stride + 1; };
    if (x.shape[1] + 2 * padding < kernel || x.shape[2] + 2 * padding < kernel)
        throw Error(ErrorKind::usage, "cannot build the network", name,
                    "a window of " + std::to_string(kernel) + " does not fit into " +
                        std::to_string(x.shape[1]) + "x" + std::to_string(x.shape[2]),
                    "use a larger --size");
    return {channels, extent(x.shape[1]), extent(x.shape[2])};
}

}  // namespace

void Network::begin_part(const std::string& name, int group) {
    parts_.push_back(name);
    group_ = group;
}

int Network::groups() const {
    int groups = 1;
    for (const Parameter& parameter : parameters_) groups = std::max(groups, parameter.group + 1);
    return groups;
}

int Network::depth() const {
    std::vector<int> depths;
    for (const Layer& layer : layers_) {
        int deepest = 0;
        for (const int x : layer.inputs) deepest = std::max(deepest, depths[static_cast<std::size_t>(x)]);
        depths.push_back(deepest + (layer.kind == LayerKind::conv2d ? 1 : 0));
    }
    return depths.empty() ? 0 : depths.back();
}

int Network::append(Layer layer) {
    layer.part = head_part();
    layers_.push_back(std::move(layer));
    return static_cast<int>(layers_.size()) - 1;
}

int Network::add_parameter(const std::string& name, ParameterRole role, std::vector<std::int64_t> shape,
                           Initial initial) {
    parameters_.push_back({name, role, std::move(shape), initial, head_part(), group_});
    return static_cast<int>(parameters_.size()) - 1;
}

int Network::input(std::int64_t channels, std::int64_t height, std::int64_t width) {
    return append({.kind = LayerKind::input, .name = "input", .shape = {channels, height, width}});
}

int Network::conv2d(const std::string& name, int x, std::int64_t out_channels, int kernel, int stride,
                    int padding, bool bias) {
    const Layer& in = layers_.at(static_cast<std::size_t>(x));
    const auto shape = window_shape(name, in, out_channels, kernel, stride, padding);
    std::vector<int> parameters = {add_parameter(name + ".weight", ParameterRole::conv_weight,
                                                 {out_channels, in.shape[0], kernel, kernel})};
    if (bias) parameters.push_back(add_parameter(name + ".bias", ParameterRole::conv_bias, {out_channels}));
    return append({.kind = LayerKind::conv2d,
                   .name = name,
                   .inputs = {x},
                   .shape = shape,
                   .kernel = kernel,
                   .stride = stride,
                   .padding = padding,
                   .parameters = std::move(parameters)});
}

int Network::batch_norm(const std::string& name, int x, Initial initial) {
    const Layer& in = layers_.at(static_cast<std::size_t>(x));
    const auto shape = in.shape;
    const int weight = add_parameter(name + ".weight", ParameterRole::norm_weight, {shape[0]}, initial);
    const int bias = add_parameter(name + ".bias", ParameterRole::norm_bias, {shape[0]},
                                   initial == Initial::zero ? Initial::usual : initial);
    statistics_.push_back(name);
    return append({.kind = LayerKind::batch_norm,
                   .name = name,
                   .inputs = {x},
                   .shape = shape,
                   .parameters = {weight, bias},
                   .statistics = static_cast<int>(statistics_.size()) - 1});
}

int Network::relu(int x) {
    return append(
        {.kind = LayerKind::relu, .inputs = {x}, .shape = layers_.at(static_cast<std::size_t>(x)).shape});
}

int Network::add(int a, int b) {
    const auto& left = layers_.at(static_cast<std::size_t>(a)).shape;
    if (left != layers_.at(static_cast<std::size_t>(b)).shape)
        throw Error(ErrorKind::usage, "cannot build the network", "add", "the two shapes differ");
    return append({.kind = LayerKind::add, .inputs = {a, b}, .shape = left});
}

int Network::max_pool(int x, int kernel, int stride, int padding) {
    const Layer& in = layers_.at(static_cast<std::size_t>(x));
    return append({.kind = LayerKind::max_pool,
                   .inputs = {x},
                   .shape = window_shape("max_pool", in, in.shape[0], kernel, stride, padding),
                   .kernel = kernel,
                   .stride = stride,
                   .padding = padding});
}

int Network::global_average_pool(int x) {
    return append({.kind = LayerKind::global_average_pool,
                   .inputs = {x},
                   .shape = {layers_.at(static_cast<std::size_t>(x)).shape[0], 1, 1}});
}

int Network::adaptive_average_pool(int x, int side) {
    if (side < 1)
        throw Error(ErrorKind::usage, "cannot build the network", "adaptive_average_pool",
                    "a side of " + std::to_string(side) + " holds nothing", "give 1 or more");
    const std::int64_t channels = layers_.at(static_cast<std::size_t>(x)).shape[0];
    return append({.kind = LayerKind::adaptive_average_pool,
                   .inputs = {x},
                   .shape = {channels * side * side, 1, 1},
                   .kernel = side});
}

int Network::concat_pool(int x) {
    return append({.kind = LayerKind::concat_pool,
                   .inputs = {x},
                   .shape = {2 * layers_.at(static_cast<std::size_t>(x)).shape[0], 1, 1}});
}

int Network::dropout(int x, double dropout) {
    return append({.kind = LayerKind::dropout,
                   .inputs = {x},
                   .shape = layers_.at(static_cast<std::size_t>(x)).shape,
                   .dropout = dropout});
}

int Network::linear(const std::string& name, int x, std::int64_t out_features, bool bias, Initial initial) {
    const auto& in = layers_.at(static_cast<std::size_t>(x)).shape;
    if (in[1] != 1 || in[2] != 1)
        throw Error(ErrorKind::usage, "cannot build the network", name, "its input is not a vector",
                    "pool it first");
    std::vector<int> parameters = {
        add_parameter(name + ".weight", ParameterRole::linear_weight, {out_features, in[0]}, initial)};
    if (bias)
        parameters.push_back(
            add_parameter(name + ".bias", ParameterRole::linear_bias, {out_features}, initial));
    return append({.kind = LayerKind::linear,
                   .name = name,
                   .inputs = {x},
                   .shape = {out_features, 1, 1},
                   .parameters = std::move(parameters)});
}

std::int64_t Network::parameter_count() const {
    std::int64_t count = 0;
    for (const Parameter& parameter : parameters_) {
        std::int64_t elements = 1;
        for (std::int64_t dim : parameter.shape) elements *= dim;
        count += elements;
    }
    return count;
}

}  // namespace onecycle
