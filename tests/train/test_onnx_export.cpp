// Graphs of networks. tests/reference/check_exports.py has run the files in
// tests/reference/data/onnx in onnxruntime.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "nn/network_of.h"
#include "reference/formula.h"
#include "train/onnx_export.h"
#include "train/tiny.h"

namespace onecycle {
namespace {

using testing::read_text;

std::map<std::string, HostTensor> formula_weights(const Network& network) {
    std::map<std::string, HostTensor> weights;
    const auto add = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
        weights[name] = {shape, reference::parameter(name, shape)};
    };
    for (const Parameter& parameter : network.parameters()) add(parameter.name, parameter.shape);
    for (const std::string& norm : network.statistics())
        for (const char* statistic : {".running_mean", ".running_var"})
            add(norm + statistic, weights.at(norm + ".weight").shape);
    return weights;
}

// A batch norm in every place: after a convolution that nothing else reads, after one that
// something else reads too, read by two itself, before a linear layer, between two; and fastai's
// head.
Network every_place() {
    Network net;
    int x = net.input(3, 12, 12);
    x = net.max_pool(net.relu(net.batch_norm("stem.norm", net.conv2d("stem.conv", x, 8, 3, 1, 1))), 3, 2, 1);
    x = net.batch_norm("block.norm", net.conv2d("block.conv", x, 8, 3, 2, 1));
    x = net.add(x, net.relu(x));
    x = net.conv2d("twice.conv", x, 8, 1, 1, 0);
    x = net.add(x, net.batch_norm("twice.norm", x));
    x = net.batch_norm("head.norm", net.concat_pool(x));
    x = net.linear("hidden", net.dropout(x, 0.25), 6, false);
    x = net.batch_norm("hidden.norm", net.relu(x));
    net.linear("fc", net.dropout(x, 0.5), 5);
    return net;
}

std::vector<std::string> operations(const OnnxModel& model) {
    std::vector<std::string> names;
    for (const OnnxNode& node : model.nodes) names.push_back(node.op);
    return names;
}

std::ptrdiff_t count(const OnnxModel& model, const std::string& op) {
    const auto names = operations(model);
    return std::count(names.begin(), names.end(), op);
}

TEST(OnnxExport, writes_the_files_that_onnxruntime_has_run) {
    const Network network = every_place();
    const testing::TemporaryFolder folder;
    for (const auto& [name, options] : {std::pair<std::string, OnnxOptions>{"folded", {}},
                                        {"kept", {.keep_bn = true}},
                                        {"pixels", {.with_preprocessing = true}}}) {
        OnnxModel model = onnx_model(network, formula_weights(network), options);
        model.name = name;
        const std::string file = folder / (name + ".onnx");
        write_onnx(file, model);
        const std::string bytes = read_text(file);
        if (bytes == read_text(std::string(ONECYCLE_TEST_DATA) + "/onnx/" + name + ".onnx")) continue;
        std::filesystem::copy_file(file, name + ".onnx", std::filesystem::copy_options::overwrite_existing);
        ADD_FAILURE() << name << ".onnx differs. Where it should: put the new one, "
                      << std::filesystem::absolute(name + ".onnx")
                      << ", into tests/reference/data/onnx and run tests/reference/check_exports.py";
    }
}

TEST(OnnxExport, folds_a_batch_norm_wherever_one_neighbour_alone_reads_it_or_is_read_by_it) {
    const Network network = every_place();
    const OnnxModel folded = onnx_model(network, formula_weights(network), {});
    EXPECT_EQ(operations(folded),
              (std::vector<std::string>{"Conv", "Relu", "MaxPool", "Conv", "Relu", "Add", "Conv",
                                        "BatchNormalization", "Add", "GlobalMaxPool", "GlobalAveragePool",
                                        "Concat", "Flatten", "Gemm", "Relu", "Gemm"}));
    EXPECT_EQ(folded.nodes.back().output, "logits");
    EXPECT_EQ(count(onnx_model(network, formula_weights(network), {.keep_bn = true}), "BatchNormalization"),
              5);
}

TEST(OnnxExport, a_resnet_is_its_convolutions_and_little_else) {
    const Network network = network_of({.arch = "resnet50", .classes = 7, .size = 96});
    const auto weights = formula_weights(network);
    const OnnxModel folded = onnx_model(network, weights, {}),
                    kept = onnx_model(network, weights, {.keep_bn = true});
    EXPECT_EQ(count(folded, "Conv"), 53);
    EXPECT_EQ(count(folded, "BatchNormalization"), 0);
    EXPECT_EQ(count(kept, "BatchNormalization"), 53);
    EXPECT_EQ(count(folded, "Relu"), 49);
    EXPECT_EQ(count(folded, "Add"), 16);
    EXPECT_EQ(folded.tensors.size(), 2u * 54);  // weight and bias
    const std::vector<std::variant<std::int64_t, std::string>> shape = {"N", 3, 96, 96};
    EXPECT_EQ(folded.input.shape, shape);
    EXPECT_EQ(std::get<std::int64_t>(folded.output.shape[1]), 7);

    // Every value is made once, before it is read.
    std::vector<std::string> known = {"input"};
    for (const OnnxTensor& tensor : folded.tensors) known.push_back(tensor.name);
    for (const OnnxNode& node : folded.nodes) {
        for (const std::string& input : node.inputs)
            EXPECT_TRUE(std::count(known.begin(), known.end(), input)) << input;
        EXPECT_FALSE(std::count(known.begin(), known.end(), node.output)) << node.output;
        known.push_back(node.output);
    }
}

// Convolutions with a bias, which a norm behind them changes; adaptive pooling.
TEST(OnnxExport, a_bias_is_folded_and_adaptive_pooling_is_two_products) {
    const auto network_of_size = [](int size) {
        Network net;
        const int x = net.batch_norm("norm", net.conv2d("conv", net.input(3, size, size), 4, 3, 1, 1, true));
        net.linear("fc", net.adaptive_average_pool(net.conv2d("last", x, 4, 1, 1, 0, true), 7), 5);
        return net;
    };
    const Network network = network_of_size(10);
    const auto weights = formula_weights(network);
    const OnnxModel model = onnx_model(network, weights, {});
    EXPECT_EQ(operations(model),
              (std::vector<std::string>{"Conv", "Conv", "MatMul", "MatMul", "Flatten", "Gemm"}));
    EXPECT_EQ(operations(onnx_model(network_of_size(7), weights, {})),
              (std::vector<std::string>{"Conv", "Conv", "Flatten", "Gemm"}));
    const auto tensor = [&](const std::string& name) {
        for (const OnnxTensor& t : model.tensors)
            if (t.name == name) return t;
        throw std::runtime_error("no tensor " + name);
    };
    for (std::size_t c = 0; c < 4; ++c) {
        const auto value = [&](const std::string& name) {
            return static_cast<double>(weights.at(name).values[c]);
        };
        const double scale = value("norm.weight") / std::sqrt(value("norm.running_var") + 1e-5);
        EXPECT_NEAR(tensor("conv.bias").values[c],
                    scale * (value("conv.bias") - value("norm.running_mean")) + value("norm.bias"), 1e-6);
        EXPECT_EQ(tensor("last.bias").values[c], weights.at("last.bias").values[c]);
    }
    // Window i of 7 over 10 pixels is a mean of those from 10 i / 7, rounded down, to 10 (i + 1) /
    // 7, rounded up.
    for (const OnnxTensor& matrix : model.tensors) {
        if (!matrix.name.ends_with(".rows")) continue;
        ASSERT_EQ(matrix.shape, (std::vector<std::int64_t>{7, 10}));
        for (int i = 0; i < 7; ++i)
            for (int p = 0; p < 10; ++p) {
                const int begin = 10 * i / 7, end = (10 * (i + 1) + 6) / 7;
                EXPECT_FLOAT_EQ(matrix.values[static_cast<std::size_t>(10 * i + p)],
                                p >= begin && p < end ? 1.0f / static_cast<float>(end - begin) : 0.0f);
            }
    }
}

}  // namespace
}  // namespace onecycle
