// A step between backward and the next forward, for tests of the operations that end it: flat
// buffers and plain structs in host memory.
#pragma once

#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <vector>

#include "ops/harness.h"
#include "rules/control.h"
#include "rules/optimizer_rules.h"
#include "rules/rng.h"

namespace onecycle::testing {

// The machine whose promises a test binary checks; each binary defines it.
std::shared_ptr<const Machine> machine_under_test(int threads = 2);

template <typename T>
TensorDesc bytes_of() {
    return TensorDesc({sizeof(T)}, Layout::plain, DType::u8);
}

// Two trained parameters and a frozen one between them, each padded to 128.
struct Step {
    static constexpr std::int64_t n = 1024;
    std::vector<float> gradients = std::vector<float>(n), parameters = std::vector<float>(n),
                       moment1 = std::vector<float>(n), moment2 = std::vector<float>(n),
                       ema = std::vector<float>(n, 8.0f),
                       sum = std::vector<float>(n, std::numeric_limits<float>::quiet_NaN());
    std::vector<float> ratios{};
    BatchResult result{};
    GradientCheck check{};
    StepControl control{};
    StepProgress progress{};
    OpDesc desc;
    std::shared_ptr<const Machine> machine;

    explicit Step(std::shared_ptr<const Machine> machine_ = machine_under_test())
        : machine(std::move(machine_)) {
        desc.parameters = {{.offset = 0, .elements = 200, .lr_multiplier = 0.5},
                           {.offset = 256, .elements = 100, .frozen = true},
                           {.offset = 384, .elements = 640, .decay_multiplier = 0}};
        RandomStream random(1, RandomPurpose::demo_data, 0, 0);
        for (const ParameterSegment& s : desc.parameters)
            for (std::int64_t i = s.offset; i < s.offset + s.elements; ++i) {
                const auto k = static_cast<std::size_t>(i);
                gradients[k] = static_cast<float>(random.uniform(-1, 1));
                parameters[k] = static_cast<float>(random.uniform(-1, 1));
            }
        control.schedule = {10, 1, {{0, 10, 0.1, 0.2, 0.95, 0.85, Curve::linear, Curve::linear}}};
        control.last_update = 10;
        result.loss = 2.5;
        result.loss_sum = 5;
        result.weight = 2;
    }

    void run(OpKind kind, const std::vector<TensorDesc>& in, const std::vector<TensorDesc>& out,
             const std::vector<void*>& inputs, const std::vector<void*>& outputs) {
        desc.kind = kind;
        desc.inputs = in;
        desc.outputs = out;
        EXPECT_TRUE(run_in_place(desc, inputs, outputs, *machine));
    }
    void run_check() {
        run(OpKind::check_gradients, {{n}, bytes_of<BatchResult>(), bytes_of<StepControl>()},
            {bytes_of<GradientCheck>()}, {gradients.data(), &result, &control}, {&check});
    }
    void run_update() {
        std::vector<TensorDesc> out = {{n}, {n}};
        std::vector<void*> outputs = {parameters.data(), moment1.data()};
        if (has_second_moment(desc.optimizer.kind)) {
            out.push_back({n});
            outputs.push_back(moment2.data());
        }
        if (desc.optimizer.ema_decay > 0) {
            out.push_back({n});
            outputs.push_back(ema.data());
        }
        std::vector<TensorDesc> in = {{n}, bytes_of<GradientCheck>(), bytes_of<StepControl>()};
        std::vector<void*> inputs = {gradients.data(), &check, &control};
        if (has_trust_ratio(desc.optimizer.kind)) {
            run_ratios();
            in.push_back({static_cast<std::int64_t>(ratios.size())});
            inputs.push_back(ratios.data());
        }
        run(OpKind::update_parameters, in, out, inputs, outputs);
    }
    void run_ratios() {
        std::vector<TensorDesc> in = {{n}, bytes_of<GradientCheck>(), bytes_of<StepControl>(), {n}};
        std::vector<void*> inputs = {gradients.data(), &check, &control, parameters.data()};
        if (has_second_moment(desc.optimizer.kind)) {
            in.insert(in.end(), {{n}, {n}});
            inputs.insert(inputs.end(), {moment1.data(), moment2.data()});
        }
        ratios.assign(desc.parameters.size(), std::numeric_limits<float>::quiet_NaN());
        run(OpKind::trust_ratio, in, {{static_cast<std::int64_t>(ratios.size())}}, inputs, {ratios.data()});
    }
    void run_commit() {
        run(OpKind::commit_step, {bytes_of<BatchResult>(), bytes_of<GradientCheck>()},
            {bytes_of<StepControl>(), bytes_of<StepProgress>()}, {&result, &check}, {&control, &progress});
    }
};

}  // namespace onecycle::testing
