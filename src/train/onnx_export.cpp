#include "train/onnx_export.h"

#include <cmath>
#include <optional>

#include "ops/ops.h"
#include "rules/adaptive_rules.h"

namespace onecycle {

namespace {

using Vector = std::vector<double>;

// y = scale * x + shift, channel by channel: what a batch norm with fixed statistics is.
struct Affine {
    Vector scale, shift;
};

// What a layer's output is in the graph.
struct Value {
    std::string name;
    bool flat = false;                // [N,C], else [N,C,H,W]
    std::optional<Affine> pending{};  // not yet applied: its only reader folds it into its weights
};

class Exporter {
  public:
    Exporter(const Network& network, const std::map<std::string, HostTensor>& weights,
             const OnnxOptions& options)
        : network_(network), weights_(weights), options_(options), values_(network.layers().size()) {}

    OnnxModel run() {
        const std::vector<Layer>& layers = network_.layers();
        for (int i = 0; i < static_cast<int>(layers.size()); ++i)
            if (value(i).name.empty()) emit(i);
        model_.output = {"logits", OnnxType::f32, {"N", network_.classes()}};
        return std::move(model_);
    }

  private:
    void emit(int i) {
        const Layer& l = layer(i);
        switch (l.kind) {
            case LayerKind::input:
                return input(i);
            case LayerKind::conv2d:
                return conv2d(i);
            case LayerKind::batch_norm:
                return batch_norm(i);
            case LayerKind::relu:
                return node(i, "Relu", "relu");
            case LayerKind::add:
                return node(i, "Add", "add");
            case LayerKind::max_pool:
                return node(i, "MaxPool", "max_pool", window(l));
            case LayerKind::global_average_pool:
                return node(i, "GlobalAveragePool", "average_pool");
            case LayerKind::adaptive_average_pool:
                return adaptive_average_pool(i);
            case LayerKind::concat_pool:
                return concat_pool(i);
            case LayerKind::dropout:  // nothing, when evaluated
                value(i) = value(l.inputs[0]);
                return;
            case LayerKind::linear:
                return linear(i);
        }
    }

    void input(int i) {
        const auto [channels, height, width] = layer(i).shape;
        model_.input = {"input", OnnxType::f32, {"N", channels, height, width}};
        value(i) = {"input"};
        if (!options_.with_preprocessing) return;
        model_.input = {"input", OnnxType::u8, {"N", height, width, channels}};
        Vector mean, deviation;  // of pixels in 0..255
        for (const double m : options_.mean) mean.push_back(255 * m);
        for (const double d : options_.stddev) deviation.push_back(255 * d);
        tensor("mean", {1, channels, 1, 1}, mean);
        tensor("std", {1, channels, 1, 1}, deviation);
        const std::int64_t f32 = static_cast<std::int64_t>(OnnxType::f32);
        model_.nodes.push_back(
            {"Transpose", "nchw", {"input"}, "nchw.out", {{"perm", std::vector<std::int64_t>{0, 3, 1, 2}}}});
        model_.nodes.push_back({"Cast", "float", {"nchw.out"}, "float.out", {{"to", f32}}});
        model_.nodes.push_back({"Sub", "centred", {"float.out", "mean"}, "centred.out"});
        model_.nodes.push_back({"Div", "normalised", {"centred.out", "std"}, "normalised.out"});
        value(i) = {"normalised.out"};
    }

    void conv2d(int i) {
        const Layer& l = layer(i);
        const Parameter& parameter = this->parameter(l, 0);
        Vector weight = values_of(parameter.name), bias;
        if (l.parameters.size() > 1) bias = values_of(this->parameter(l, 1).name);
        const int end = fold_norm_after(i, weight, bias);
        std::vector<std::string> inputs = {value(l.inputs[0]).name,
                                           tensor(parameter.name, parameter.shape, weight)};
        if (!bias.empty()) inputs.push_back(tensor(l.name + ".bias", {l.shape[0]}, bias));
        emit_node(i, end, {"Conv", l.name, std::move(inputs), "", window(l)});
    }

    void batch_norm(int i) {
        const Layer& l = layer(i);
        const Value& x = value(l.inputs[0]);
        int reader = only_reader(i);
        while (reader >= 0 && layer(reader).kind == LayerKind::dropout) reader = only_reader(reader);
        if (!options_.keep_bn && reader >= 0 && layer(reader).kind == LayerKind::linear) {
            value(i) = {x.name, x.flat, affine(l)};
            return;
        }
        std::vector<std::string> inputs = {x.name};
        for (const std::string& name : norm_tensors(l)) inputs.push_back(tensor(name, {l.shape[0]}));
        emit_node(i, i,
                  {"BatchNormalization",
                   l.name,
                   std::move(inputs),
                   "",
                   {{"epsilon", static_cast<float>(OpDesc{}.epsilon)}}});
    }

    // ONNX has no such pooling. As a mean of means it is a product from either side, with a matrix
    // whose row i has the reciprocal of its number where window i covers; where every window is one
    // pixel there is only the flattening.
    void adaptive_average_pool(int i) {
        const Layer& x = layer(layer(i).inputs[0]);
        const std::int64_t side = layer(i).kernel, height = x.shape[1], width = x.shape[2];
        const std::string name = "adaptive_average_pool_" + std::to_string(i);
        std::string pooled = value(layer(i).inputs[0]).name;
        if (height != side || width != side) {
            const auto matrix = [&](std::int64_t pixels, bool transposed) {
                Vector m(static_cast<std::size_t>(side * pixels));
                for (std::int64_t w = 0; w < side; ++w) {
                    const Cover cover =
                        window_pixels(static_cast<std::int32_t>(w), static_cast<std::int32_t>(pixels),
                                      static_cast<std::int32_t>(side));
                    for (std::int64_t p = cover.begin; p < cover.end; ++p)
                        m[static_cast<std::size_t>(transposed ? p * side + w : w * pixels + p)] =
                            1.0 / (cover.end - cover.begin);
                }
                return m;
            };
            const std::string columns = tensor(name + ".columns", {width, side}, matrix(width, true)),
                              rows = tensor(name + ".rows", {side, height}, matrix(height, false));
            model_.nodes.push_back({"MatMul", name + ".of_columns", {pooled, columns}, name + ".narrow"});
            model_.nodes.push_back({"MatMul", name + ".of_rows", {rows, name + ".narrow"}, name + ".pooled"});
            pooled = name + ".pooled";
        }
        emit_node(i, i, {"Flatten", name, {pooled}, "", {{"axis", std::int64_t{1}}}});
        value(i).flat = true;
    }

    // Each channel's maximum, then each mean.
    void concat_pool(int i) {
        const std::string& x = value(layer(i).inputs[0]).name;
        const std::string name = "concat_pool_" + std::to_string(i);
        model_.nodes.push_back({"GlobalMaxPool", name + ".max", {x}, name + ".max.out"});
        model_.nodes.push_back({"GlobalAveragePool", name + ".average", {x}, name + ".average.out"});
        emit_node(
            i, i,
            {"Concat", name, {name + ".max.out", name + ".average.out"}, "", {{"axis", std::int64_t{1}}}});
    }

    void linear(int i) {
        const Layer& l = layer(i);
        Value x = value(l.inputs[0]);
        if (!x.flat) {
            model_.nodes.push_back(
                {"Flatten", l.name + ".flatten", {x.name}, l.name + ".flat", {{"axis", std::int64_t{1}}}});
            x.name = l.name + ".flat";
        }
        const Parameter& parameter = this->parameter(l, 0);
        Vector weight = values_of(parameter.name), bias;
        if (l.parameters.size() > 1) bias = values_of(this->parameter(l, 1).name);
        if (x.pending) {
            // W (s x + t) + b = (W s) x + (W t + b)
            const std::size_t rows = static_cast<std::size_t>(l.shape[0]), columns = weight.size() / rows;
            bias.resize(rows);
            for (std::size_t r = 0; r < rows; ++r)
                for (std::size_t c = 0; c < columns; ++c) {
                    bias[r] += weight[r * columns + c] * x.pending->shift[c];
                    weight[r * columns + c] *= x.pending->scale[c];
                }
        }
        const int end = fold_norm_after(i, weight, bias);
        std::vector<std::string> inputs = {x.name, tensor(parameter.name, parameter.shape, weight)};
        if (!bias.empty()) inputs.push_back(tensor(l.name + ".bias", {l.shape[0]}, bias));
        emit_node(i, end, {"Gemm", l.name, std::move(inputs), "", {{"transB", std::int64_t{1}}}});
        value(i).flat = value(end).flat = true;
    }

    // A node without weights.
    void node(int i, const std::string& op, const std::string& name,
              std::vector<OnnxAttribute> attributes = {}) {
        std::vector<std::string> inputs;
        for (const int x : layer(i).inputs) inputs.push_back(value(x).name);
        emit_node(i, i, {op, name + "_" + std::to_string(i), std::move(inputs), "", std::move(attributes)});
    }

    // The node computes layer i, and with it all up to `end`.
    void emit_node(int i, int end, OnnxNode node) {
        node.output = end + 1 == static_cast<int>(values_.size()) ? "logits" : node.name + ".out";
        value(i) = value(end) = {node.output, value(layer(i).inputs[0]).flat};
        model_.nodes.push_back(std::move(node));
    }

    // Where batch norms are folded and only one reads layer i, changes i's weights, one row a
    // channel, to those of both. Returns the layer whose output that is.
    int fold_norm_after(int i, Vector& weight, Vector& bias) const {
        const int norm = only_reader(i);
        if (options_.keep_bn || norm < 0 || layer(norm).kind != LayerKind::batch_norm) return i;
        const auto [scale, shift] = affine(layer(norm));
        const std::size_t row = weight.size() / scale.size();
        for (std::size_t w = 0; w < weight.size(); ++w) weight[w] *= scale[w / row];
        bias.resize(scale.size());
        for (std::size_t c = 0; c < bias.size(); ++c) bias[c] = scale[c] * bias[c] + shift[c];
        return norm;
    }

    Affine affine(const Layer& norm) const {
        const auto names = norm_tensors(norm);
        const Vector weight = values_of(names[0]), bias = values_of(names[1]), mean = values_of(names[2]),
                     variance = values_of(names[3]);
        Affine result;
        for (std::size_t c = 0; c < weight.size(); ++c) {
            result.scale.push_back(weight[c] / std::sqrt(variance[c] + OpDesc{}.epsilon));
            result.shift.push_back(bias[c] - mean[c] * result.scale[c]);
        }
        return result;
    }

    std::array<std::string, 4> norm_tensors(const Layer& norm) const {
        const std::string& name = network_.statistics()[static_cast<std::size_t>(norm.statistics)];
        return {parameter(norm, 0).name, parameter(norm, 1).name, name + ".running_mean",
                name + ".running_var"};
    }

    static std::vector<OnnxAttribute> window(const Layer& l) {
        const auto all = [](int n, int side) {
            return std::vector<std::int64_t>(static_cast<std::size_t>(n), side);
        };
        return {
            {"kernel_shape", all(2, l.kernel)}, {"strides", all(2, l.stride)}, {"pads", all(4, l.padding)}};
    }

    // -1: none, or several.
    int only_reader(int i) const {
        int reader = -1;
        for (int j = i + 1; j < static_cast<int>(values_.size()); ++j)
            for (const int x : layer(j).inputs) {
                if (x == i && reader >= 0) return -1;
                if (x == i) reader = j;
            }
        return reader;
    }

    std::string tensor(const std::string& name, std::vector<std::int64_t> shape, const Vector& values) {
        model_.tensors.push_back({name, std::move(shape), {values.begin(), values.end()}});
        return name;
    }
    std::string tensor(const std::string& name, std::vector<std::int64_t> shape) {
        model_.tensors.push_back({name, std::move(shape), weights_.at(name).values});
        return name;
    }

    Vector values_of(const std::string& name) const {
        const std::vector<float>& values = weights_.at(name).values;
        return {values.begin(), values.end()};
    }
    const Layer& layer(int i) const { return network_.layers()[static_cast<std::size_t>(i)]; }
    const Parameter& parameter(const Layer& l, std::size_t which) const {
        return network_.parameters()[static_cast<std::size_t>(l.parameters[which])];
    }
    Value& value(int i) { return values_[static_cast<std::size_t>(i)]; }

    const Network& network_;
    const std::map<std::string, HostTensor>& weights_;
    const OnnxOptions& options_;
    std::vector<Value> values_;  // by layer
    OnnxModel model_;
};

}  // namespace

OnnxModel onnx_model(const Network& network, const std::map<std::string, HostTensor>& weights,
                     const OnnxOptions& options) {
    return Exporter(network, weights, options).run();
}

}  // namespace onecycle
