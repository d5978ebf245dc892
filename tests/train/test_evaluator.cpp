// An evaluation is launches and one wait, on every device that is not the host itself.
#include "nn/network_of.h"
#include "train/evaluator.h"

#include <gtest/gtest.h>

#include "train/engine.h"
#include "train/tiny.h"

namespace onecycle {
namespace {

using testing::tiny_dataset;

constexpr int size = 32, batch = 4;

// An evaluator of a network with fresh weights.
struct Machine {
    explicit Machine(const std::string& device, bool graph = true)
        : engine(make_engine(device, "fp32", 2, {.graph = graph})) {
        state.initialise(1);
        arena = DeviceMemory(*engine.device, std::max(evaluator.arena_bytes(), predictor.arena_bytes()));
        evaluator.bind(state, arena, false);
        predictor.bind(state, arena, false);
    }
    static ProgramKey key() {
        ProgramKey key;
        key.batch = batch;
        key.confusion = true;
        return key;
    }
    Evaluation evaluate() { return evaluator.evaluate(loader, tiny_dataset().classes, {}); }

    Engine engine;
    Network network = network_of({.arch = "resnet18", .classes = 3, .size = size});
    StateLayout layout{network, *engine.backend, false};
    State state{*engine.device, network, layout, {}};
    Evaluator evaluator{network, layout, *engine.backend, key()};
    Predictor predictor{network, layout, *engine.backend, key()};
    DeviceMemory arena;
    std::vector<Sample> samples = all_samples(tiny_dataset());
    Loader loader{samples, {.size = size, .batch_size = batch, .training = false}};
};

TEST(Evaluator, counts_what_the_predictions_for_the_same_images_say) {
    for (const char* device : {"cpu", "emulated"}) {
        SCOPED_TRACE(device);
        Machine machine(device);
        std::vector<std::string> files;
        for (const Sample& sample : machine.samples) files.push_back(sample.path());
        std::vector<std::vector<std::int64_t>> expected(3, std::vector<std::int64_t>(3));
        const auto predictions =
            machine.predictor.predict(files, tiny_dataset().classes, 1, {size, 0.875, 2, {}});
        for (std::size_t i = 0; i < files.size(); ++i)
            ++expected[static_cast<std::size_t>(machine.samples[i].label)]
                      [static_cast<std::size_t>(predictions[i].top.front().index)];
        for (int time = 0; time < 2; ++time) {  // the second counts from nothing again
            const Evaluation evaluation = machine.evaluate();
            EXPECT_EQ(evaluation.confusion, expected);
            EXPECT_EQ(evaluation.n, 36);
        }
    }
}

TEST(Evaluator, waits_once_whatever_the_number_of_batches) {
    std::vector<Evaluation> evaluations;
    for (const bool graph : {true, false}) {
        Machine machine("emulated", graph);
        machine.evaluate();  // takes memory
        const RuntimeCalls before = machine.engine.device->runtime_calls();
        evaluations.push_back(machine.evaluate());
        const RuntimeCalls after = machine.engine.device->runtime_calls();
        EXPECT_EQ(after.blocking - before.blocking, 1u);
        const auto launches = [](const RuntimeCalls& calls) {
            const auto found = calls.of.find("cudaGraphLaunch");
            return found == calls.of.end() ? 0 : found->second;
        };
        EXPECT_EQ(launches(after) - launches(before), graph ? 9u : 0u) << "one a batch";
    }
    EXPECT_EQ(evaluations[0].loss, evaluations[1].loss);
    EXPECT_EQ(evaluations[0].confusion, evaluations[1].confusion);
}

}  // namespace
}  // namespace onecycle
