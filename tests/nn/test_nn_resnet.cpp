// ResNets against torchvision run in double precision (tests/reference/generate_resnets.py).
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "nn/training.h"

namespace onecycle {
namespace {

using nlohmann::json;
using testing::Session;

json load(const std::string& file) {
    std::ifstream stream(std::string(ONECYCLE_TEST_DATA) + "/" + file);
    return json::parse(stream);
}

reference::Summary summary_of(const json& row) {
    reference::Summary s{row[1], row[2], row[3], {}};
    for (std::size_t j = 0; j < s.samples.size(); ++j) s.samples[j] = row[4][j];
    return s;
}

int logits_buffer(const Program& program) {
    for (const ProgramOp& step : program.steps)
        if (step.desc.kind == OpKind::softmax_cross_entropy) return step.inputs[0];
    return -1;
}

// Largest difference of the logits as a part of their root mean square.
double logits_difference(const Session& session, const json& expected) {
    const std::vector<float> logits = session.runnable.read(logits_buffer(session.program));
    double worst = 0, squares = 0;
    std::size_t i = 0;
    for (const auto& row : expected)
        for (double want : row) {
            worst = std::max(worst, std::abs(want - static_cast<double>(logits[i++])));
            squares += want * want;
        }
    return worst / std::sqrt(squares / static_cast<double>(logits.size()));
}

// One step of the program against a case of generate_resnets.py or generate_head.py.
void expect_case(const json& reference, Head head, testing::Machine machine = testing::cpu_machine()) {
    const bool train = reference.at("mode") == "train";
    const ResnetOptions options{.arch = reference.at("arch"),
                                .classes = reference.at("classes"),
                                .size = reference.at("size"),
                                .stem = reference.at("stem") == "small" ? Stem::small : Stem::imagenet,
                                .head = head,
                                .dropout = 0};
    SCOPED_TRACE(std::to_string(options.size) + " px, " + reference.at("mode").get<std::string>());
    ProgramKey key = testing::training_key(reference.at("batch"));
    key.mean = reference::mean;
    key.stddev = reference::stddev;
    key.mode = train ? Mode::train : Mode::evaluate;
    Session session(options, key, std::move(machine));
    session.state.initialise(0);
    session.set_formula_weights(reference.at("norm_bias"));
    session.set_formula_batch(reference.at("images"), reference.at("labels"));

    // The logits' memory is used again after the loss, so they are read as soon as they are there.
    double difference = -1;
    const int cross_entropy = [&] {
        for (std::size_t i = 0; i < session.program.steps.size(); ++i)
            if (session.program.steps[i].name == "cross_entropy") return static_cast<int>(i);
        return -1;
    }();
    session.runnable.run_eagerly([&](int step, double) {
        if (step == cross_entropy) difference = logits_difference(session, reference.at("logits"));
    });
    const double tolerance = reference.at("tolerance");
    EXPECT_LE(difference, tolerance);
    EXPECT_NEAR(session.runnable.read_result().loss, reference.at("loss").get<double>(), tolerance * 3);
    if (!train) return;
    for (const json& row : reference.at("gradients")) {
        const std::string name = row[0];
        const std::vector<float> gradient = session.runnable.read(session.buffer("grad " + name));
        const reference::Summary got = reference::summarize(name, gradient.data(), gradient.size());
        EXPECT_LE(reference::difference(got, summary_of(row), gradient.size()), row[5].get<double>()) << name;
    }
    const std::map<std::string, HostTensor> after = session.state.weights();
    for (const json& row : reference.at("statistics")) {
        const std::string name = row[0];
        const std::vector<float>& values = after.at(name).values;
        const reference::Summary got = reference::summarize(name, values.data(), values.size());
        EXPECT_LE(reference::difference(got, summary_of(row), values.size()), row[5].get<double>()) << name;
    }
}

class Resnet : public ::testing::TestWithParam<std::string> {};

TEST_P(Resnet, has_the_names_shapes_and_counts_of_torchvision) {
    const json all = load("resnet_architectures.json");
    const json& expected = all.at(GetParam());
    for (const auto& [classes, count] : expected.at("parameters").items()) {
        const Network network = resnet({.arch = GetParam(), .classes = std::stoi(classes)});
        EXPECT_EQ(network.parameter_count(), count.get<std::int64_t>());
    }
    const Network network = resnet({.arch = GetParam(), .classes = 1000, .zero_init_residual = true});
    std::vector<std::string> zero;
    for (const Parameter& parameter : network.parameters())
        if (parameter.zero_init) zero.push_back(parameter.name);
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
