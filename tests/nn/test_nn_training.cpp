// Ten training steps with every optimizer and wrapper against PyTorch in double precision
// (tests/reference/generate_training.py): losses, weights, running statistics, moving average.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "nn/expect_change.h"
#include "nn/training.h"

namespace onecycle {
namespace {

using nlohmann::json;
using testing::expect_change;
using testing::Session;

json load(const std::string& variant) {
    std::ifstream stream(testing::reference_data("training_" + variant + ".json"));
    return json::parse(stream);
}

ProgramKey key_of(const json& reference) {
    const json& o = reference.at("options");
    ProgramKey key;
    key.batch = reference.at("batch");
    key.mean = reference::mean;
    key.stddev = reference::stddev;
    key.label_smoothing = o.at("label_smoothing");
    key.class_weights = !o.at("class_weights").is_null();
    key.optimizer.kind = o.at("optimizer") == "sgd"    ? OptimizerKind::sgd
                         : o.at("optimizer") == "adam" ? OptimizerKind::adam
                                                       : OptimizerKind::adamw;
    key.optimizer.nesterov = o.at("nesterov");
    key.optimizer.beta2 = o.at("beta2");
    key.optimizer.epsilon = o.at("epsilon");
    key.optimizer.weight_decay = o.at("weight_decay");
    key.optimizer.clip_norm = o.at("clip_norm");
    key.optimizer.accumulate = o.at("accumulate");
    key.optimizer.ema_decay = o.at("average_decay");
    return key;
}

struct Variant {
    std::string name, device;
};

class TenSteps : public ::testing::TestWithParam<Variant> {};

TEST_P(TenSteps, are_those_of_pytorch) {
    const json reference = load(GetParam().name);
    ProgramKey key = key_of(reference);
    const int micro_batches = key.optimizer.accumulate;
    key.micro = micro_batches - 1;
    Session session({.arch = "resnet18", .classes = reference.at("classes"), .size = reference.at("size")},
                    key, GetParam().device == "cpu" ? testing::cpu_machine() : testing::emulated_machine());
    key.micro = 0;
    Program first = compile(session.network, session.layout, *session.backend, key);
    DeviceMemory first_arena(*session.device, first.arena_bytes);
    Runnable first_micro(first, session.state, first_arena);

    session.state.initialise(0);
    session.set_formula_weights(reference.at("norm_bias"));
    if (session.state.has_ema()) session.state.reset_ema();
    const std::map<std::string, HostTensor> before = session.state.weights();
    if (key.class_weights) {
        const std::vector<float> weights = reference.at("options").at("class_weights");
        session.runnable.set_class_weights(weights);
        first_micro.set_class_weights(weights);
    }
    const std::vector<double> lr = reference.at("lr"), momentum = reference.at("momentum"),
                              loss = reference.at("loss"), tolerance = reference.at("loss_tolerance");
    for (std::size_t step = 0; step < loss.size(); ++step) {
        StepControl control = session.state.read_control();
        control.schedule = testing::constant_schedule(lr[step], momentum[step]);
        session.state.write_control(control);
        for (int micro = 0; micro < micro_batches; ++micro) {
            Runnable& runnable = micro == micro_batches - 1 ? session.runnable : first_micro;
            const std::string number = "." + std::to_string(step * static_cast<std::size_t>(micro_batches) +
                                                            static_cast<std::size_t>(micro));
            const auto n = static_cast<std::size_t>(key.batch);
            const auto pixels = reference::images(reference.at("images").get<std::string>() + number, n,
                                                  static_cast<std::size_t>(session.size));
            const auto labels = reference::labels(reference.at("labels").get<std::string>() + number, n,
                                                  static_cast<std::uint32_t>(session.classes));
            runnable.set_batch(pixels.data(), labels.data(), key.batch);
            runnable.launch();
        }
        control = session.state.read_control();
        ASSERT_EQ(control.update, static_cast<std::int64_t>(step) + 1);
        EXPECT_NEAR(session.state.ring_entry(static_cast<std::int64_t>(step)).loss, loss[step],
                    tolerance[step])
            << "step " << step;
    }
    expect_change(reference.at("change"), before, session.state.weights());
    if (session.state.has_ema()) expect_change(reference.at("average"), before, session.state.weights(true));
}

std::vector<Variant> variants() {
    std::vector<Variant> list;
    for (const char* name :
         {"sgd", "nesterov", "adam", "adamw", "clip", "accumulate", "smoothing", "average"})
        list.push_back({name, "cpu"});
    // The same programs on emulated CUDA, SGD's with two micro batches; what the others would add is
    // tested by operation.
    for (const char* name : {"adamw", "accumulate"}) list.push_back({name, "emulated"});
    return list;
}

INSTANTIATE_TEST_SUITE_P(Variants, TenSteps, ::testing::ValuesIn(variants()), [](const auto& test) {
    return test.param.name + (test.param.device == "cpu" ? "" : "_" + test.param.device);
});

}  // namespace
}  // namespace onecycle
