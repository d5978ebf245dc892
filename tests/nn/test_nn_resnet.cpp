// ResNets against torchvision run in double precision (tests/reference/generate_resnets.py).
#include <gtest/gtest.h>

#include "nn/step_case.h"

namespace onecycle {
namespace {

using nlohmann::json;
using testing::expect_case;
using testing::load;
using testing::Session;

class Resnet : public ::testing::TestWithParam<std::string> {};

TEST_P(Resnet, has_the_names_shapes_and_counts_of_torchvision) {
    const json all = load("resnet_architectures.json");
    const json& expected = all.at(GetParam());
    for (const auto& [classes, count] : expected.at("parameters").items()) {
        const Network network = network_of({.arch = GetParam(), .classes = std::stoi(classes)});
        EXPECT_EQ(network.parameter_count(), count.get<std::int64_t>());
    }
    const Network network = network_of({.arch = GetParam(), .classes = 1000, .zero_init_residual = true});
    std::vector<std::string> zero;
    for (const Parameter& parameter : network.parameters())
        if (parameter.initial == Initial::zero) zero.push_back(parameter.name);
    EXPECT_EQ(zero, expected.at("zero_init_residual").get<std::vector<std::string>>());
}

TEST_P(Resnet, forward_gradients_and_statistics_are_those_of_pytorch) {
    const json references = load(GetParam() + ".json");
    for (const json& reference : references) expect_case(reference, Head::linear);
}

TEST(FastaiHead, forward_gradients_and_statistics_are_those_of_fastai) {
    for (const json& reference : load("head.json"))
        if (reference.contains("mode")) expect_case(reference, Head::fastai);
}

TEST(FastaiHead, forward_gradients_and_statistics_are_those_of_fastai_emulated) {
    for (const json& reference : load("head.json"))
        if (reference.contains("mode")) expect_case(reference, Head::fastai, testing::emulated_machine());
}

TEST(FastaiHead, has_fastais_layers_shapes_and_first_values) {
    const json expected = load("head.json").back();
    Session session({.arch = "resnet18", .classes = 10, .size = 32, .head = Head::fastai},
                    testing::training_key(2));
    session.state.initialise(3);
    const auto weights = session.state.weights();
    std::size_t in_head = 0;
    for (const auto& [name, tensor] : weights) in_head += name.starts_with("head.");
    EXPECT_EQ(in_head, expected.at("initial").size());
    for (const auto& [name, row] : expected.at("initial").items()) {
        const HostTensor& tensor = weights.at(name);
        EXPECT_EQ(tensor.shape, row[0].get<std::vector<std::int64_t>>()) << name;
        double sum = 0, squares = 0;
        const double n = static_cast<double>(tensor.values.size());
        for (float v : tensor.values) sum += static_cast<double>(v);
        for (float v : tensor.values) squares += std::pow(static_cast<double>(v) - sum / n, 2);
        // fastai's own draw of 5120 normals has a deviation that is uncertain by a hundredth.
        const double deviation = row[2].get<double>();
        EXPECT_NEAR(sum / n, row[1].get<double>(), 1e-6 + 6 * deviation / std::sqrt(n)) << name;
        EXPECT_NEAR(std::sqrt(squares / n), deviation, 0.06 * deviation) << name;
    }
    std::vector<double> dropouts;
    for (const Layer& layer : session.network.layers())
        if (layer.kind == LayerKind::dropout) dropouts.push_back(layer.dropout);
    EXPECT_EQ(dropouts, expected.at("dropout").get<std::vector<double>>());
}

INSTANTIATE_TEST_SUITE_P(Architectures, Resnet, ::testing::Values("resnet18", "resnet34", "resnet50"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace onecycle
