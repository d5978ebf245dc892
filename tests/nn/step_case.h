// One step of a program against a case of tests/reference/generate_resnets.py, generate_head.py or
// generate_networks.py.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "nn/training.h"

namespace onecycle::testing {

using nlohmann::json;

inline json load(const std::string& file) {
    std::ifstream stream(std::string(ONECYCLE_TEST_DATA) + "/" + file);
    return json::parse(stream);
}

inline reference::Summary summary_of(const json& row) {
    reference::Summary s{row[1], row[2], row[3], {}};
    for (std::size_t j = 0; j < s.samples.size(); ++j) s.samples[j] = row[4][j];
    return s;
}

inline int logits_buffer(const Program& program) {
    for (const ProgramOp& step : program.ops)
        if (step.desc.kind == OpKind::softmax_cross_entropy) return step.inputs[0];
    return -1;
}

// Largest difference of the logits as a part of their root mean square.
inline double logits_difference(const Session& session, const json& expected) {
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

// The network with the formula's weights, and its first step.
inline void expect_step(Session& session, const json& reference) {
    const bool train = reference.at("mode") == "train";
    session.state.initialise(0);
    session.set_formula_weights(reference.at("norm_bias"));
    session.set_formula_batch(reference.at("images"), reference.at("labels"));

    // The logits' memory is used again after the loss, so they are read as soon as they are there.
    double difference = -1;
    const int cross_entropy = [&] {
        for (std::size_t i = 0; i < session.program.ops.size(); ++i)
            if (session.program.ops[i].name == "cross_entropy") return static_cast<int>(i);
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

inline ProgramKey key_of(const json& reference) {
    ProgramKey key = training_key(reference.at("batch"));
    key.mean = reference::mean;
    key.stddev = reference::stddev;
    key.mode = reference.at("mode") == "train" ? Mode::train : Mode::evaluate;
    return key;
}

inline void expect_case(const json& reference, Head head, Machine machine = cpu_machine()) {
    const NamedNetwork options{.arch = reference.at("arch"),
                               .classes = reference.at("classes"),
                               .size = reference.at("size"),
                               .stem = reference.at("stem") == "small" ? Stem::small : Stem::imagenet,
                               .head = head,
                               .dropout = 0};
    SCOPED_TRACE(std::to_string(options.size) + " px, " + reference.at("mode").get<std::string>());
    Session session(options, key_of(reference), std::move(machine));
    expect_step(session, reference);
}

}  // namespace onecycle::testing
