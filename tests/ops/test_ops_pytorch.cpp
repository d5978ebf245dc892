// Single layers, losses and optimizers against PyTorch (tests/reference/generate_layers.py), on
// every back end.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ops/update_step.h"

namespace onecycle::testing {

namespace {

using nlohmann::json;

const json& data() {
    static const json parsed = json::parse(std::ifstream(ONECYCLE_TEST_DATA "/layers.json"));
    return parsed;
}

// The generator's inputs.
Values values(const TensorDesc& t, std::int64_t seed) {
    Values v;
    for (std::int64_t k = 0; k < t.elements(); ++k)
        v.push_back(
            static_cast<double>(static_cast<float>((k * 7919 + seed * 104729) % 2003) / 1001.0f - 1.0f));
    return v;
}

// Both sides round to float in another order: some 1e-6 of the largest value. Winograd's transforms
// cost a further digit.
void expect_close(const Values& got, const json& expected, const std::string& what, double tolerance = 1e-5) {
    const auto truth = expected.get<Values>();
    ASSERT_EQ(got.size(), truth.size()) << what;
    double most = 1e-3;
    for (double v : truth) most = std::max(most, std::abs(v));
    for (std::size_t k = 0; k < got.size(); ++k)
        ASSERT_NEAR(got[k], truth[k], tolerance * most) << what << " element " << k;
}

TensorDesc with(TensorDesc t, Layout layout, DType type = DType::f32) {
    t.layout = layout;
    t.type = type;
    return t;
}

const Machine& machine() {
    static const std::shared_ptr<const Machine> tested = machine_under_test();
    return *tested;
}
Outcome run(const OpDesc& desc, const std::vector<Values>& inputs) {
    return run_op(desc, inputs, machine());
}

// The layout this machine's back end prefers for so many channels.
Layout activation_layout(std::int64_t channels) {
    if (machine().device->kind() != DeviceKind::cpu) return Layout::nhwc;
    const bool wide = machine().backend->parameter_layout({16, 16, 1, 1}) == Layout::OIhw16i16o;
    return channels % 16 ? Layout::plain : wide ? Layout::nChw16c : Layout::nChw8c;
}

TEST(PyTorch, convolutions_agree_forward_and_backward) {
    for (const json& c : data()["convolutions"]) {
        const auto s = c["shape"].get<std::vector<std::int64_t>>();
        OpDesc d{.kind = OpKind::conv2d};
        d.kernel = static_cast<int>(s[5]);
        d.stride = static_cast<int>(s[6]);
        d.padding = static_cast<int>(s[7]);
        const auto out = [&](std::int64_t in) { return (in + 2 * d.padding - d.kernel) / d.stride + 1; };
        const TensorDesc plain{s[4], s[1], d.kernel, d.kernel},
            w = with(plain, machine().backend->parameter_layout(plain));
        const TensorDesc x = with({s[0], s[1], s[2], s[3]}, activation_layout(s[1]));
        d.inputs = {x, w};
        d.outputs = {with({s[0], s[4], out(s[2]), out(s[3])}, Layout::any)};
        const Outcome forward = run(d, {values(x, 1), values(w, 2)});
        const TensorDesc y = forward.desc.outputs[0];
        const std::string what = c["shape"].dump();
        expect_close(forward.outputs[0], c["y"], "y " + what);
        d.kind = OpKind::conv2d_backward_data;
        d.inputs = {y, w};
        d.outputs = {x};
        expect_close(run(d, {values(y, 99), values(w, 2)}).outputs[0], c["dx"], "dx " + what);
        d.kind = OpKind::conv2d_backward_weights;
        d.inputs = {y, x};
        d.outputs = {w};
        expect_close(run(d, {values(y, 99), values(x, 1)}).outputs[0], c["dw"], "dw " + what);
    }
}

TEST(PyTorch, batch_norm_agrees_in_training_and_inference) {
    for (const json& c : data()["batch_norms"]) {
        const auto s = c["shape"].get<std::vector<std::int64_t>>();
        const TensorDesc x = with({s[0], s[1], s[2], s[3]}, activation_layout(s[1])), v{s[1]};
        const bool residual = c["residual"];
        OpDesc d{.kind = OpKind::batch_norm, .inputs = {x, v, v}, .outputs = {x, v, v}};
        d.relu = c["relu"];
        d.residual = residual;
        std::vector<Values> in = {values(x, 1), values(v, 2), values(v, 3)};
        if (residual) {
            d.inputs.push_back(x);
            in.push_back(values(x, 4));
        }
        const Outcome forward = run(d, in);
        expect_close(forward.outputs[0], c["y"], "y");

        OpDesc backward = d;
        backward.kind = OpKind::batch_norm_backward;
        backward.inputs = {x, x, v, v, v, v};
        std::vector<Values> gradient_in = {values(x, 99),      in[0], forward.outputs[1],
                                           forward.outputs[2], in[1], in[2]};
        if (residual) {
            backward.inputs.push_back(x);
            gradient_in.push_back(forward.outputs[0]);
            backward.outputs.push_back(x);
        }
        const Outcome gradients = run(backward, gradient_in);
        const char* const names[] = {"dx", "dgamma", "dbeta", "dresidual"};
        for (std::size_t i = 0; i < gradients.outputs.size(); ++i)
            expect_close(gradients.outputs[i], c[names[i]], names[i]);

        // Running statistics after one update, by the operation of the update.
        OpDesc statistics{.kind = OpKind::update_statistics};
        statistics.statistics = {{.offset = 0, .channels = s[1], .samples = s[0] * s[2] * s[3]}};
        statistics.inputs = {TensorDesc({sizeof(GradientCheck)}, Layout::plain, DType::u8), v, v};
        statistics.outputs = {{2 * s[1]}};
        Values running = values(v, 5);
        for (double value : values(v, 6)) running.push_back(value + 1.5);
        GradientCheck check{1, 1, 1, 1, -1};
        std::vector<float> buffer(running.begin(), running.end()),
            mean(forward.outputs[1].begin(), forward.outputs[1].end()),
            variance(forward.outputs[2].begin(), forward.outputs[2].end());
        EXPECT_TRUE(
            run_in_place(statistics, {&check, mean.data(), variance.data()}, {buffer.data()}, machine()));
        const auto half = buffer.begin() + s[1];
        expect_close(Values(buffer.begin(), half), c["running_mean"], "running mean");
        expect_close(Values(half, buffer.end()), c["running_variance"], "running variance");

        OpDesc inference = d;
        inference.kind = OpKind::batch_norm_inference;
        inference.inputs.insert(inference.inputs.begin() + 3, {v, v});
        inference.outputs = {x};
        in.insert(in.begin() + 3, Values(running.begin(), running.begin() + s[1]));
        in.insert(in.begin() + 4, Values(running.begin() + s[1], running.end()));
        expect_close(run(inference, in).outputs[0], c["inference"], "inference");
    }
}

TEST(PyTorch, pools_and_linear_agree_forward_and_backward) {
    const Layout layout = machine().device->kind() == DeviceKind::cpu ? Layout::nChw8c : Layout::nhwc;
    const TensorDesc x = with({2, 8, 9, 7}, layout), y = with({2, 8, 5, 4}, layout);
    const TensorDesc index = with(y, layout, DType::u8), features{2, 8};
    OpDesc d{.kind = OpKind::max_pool, .kernel = 3, .stride = 2, .padding = 1};
    d.inputs = {x};
    d.outputs = {y, index};
    const Outcome pool = run(d, {values(x, 1)});
    expect_close(pool.outputs[0], data()["max_pool"]["y"], "max pool");
    d.kind = OpKind::max_pool_backward;
    d.inputs = {y, index};
    d.outputs = {x};
    expect_close(run(d, {values(y, 99), pool.outputs[1]}).outputs[0], data()["max_pool"]["dx"],
                 "max pool dx");

    d = {.kind = OpKind::global_average_pool, .inputs = {x}, .outputs = {features}};
    expect_close(run(d, {values(x, 1)}).outputs[0], data()["average_pool"]["y"], "average pool");
    d = {.kind = OpKind::global_average_pool_backward, .inputs = {features}, .outputs = {x}};
    expect_close(run(d, {values(features, 99)}).outputs[0], data()["average_pool"]["dx"], "average pool dx");

    const TensorDesc a{5, 37}, w{7, 37}, b{7}, o{5, 7};
    const json& linear = data()["linear"];
    d = {.kind = OpKind::linear, .inputs = {a, w, b}, .outputs = {o}};
    expect_close(run(d, {values(a, 1), values(w, 2), values(b, 3)}).outputs[0], linear["y"], "linear");
    d = {.kind = OpKind::linear_backward_data, .inputs = {o, w}, .outputs = {a}};
    expect_close(run(d, {values(o, 99), values(w, 2)}).outputs[0], linear["dx"], "linear dx");
    d = {.kind = OpKind::linear_backward_weights, .inputs = {o, a}, .outputs = {w, b}};
    const Outcome gradients = run(d, {values(o, 99), values(a, 1)});
    expect_close(gradients.outputs[0], linear["dw"], "linear dw");
    expect_close(gradients.outputs[1], linear["db"], "linear db");
}

Values times3(Values v) {
    for (double& value : v) value = static_cast<double>(3 * static_cast<float>(value));
    return v;
}

TEST(PyTorch, softmax_and_cross_entropy_agree) {
    const TensorDesc small{5, 7};
    expect_close(
        run({.kind = OpKind::softmax, .inputs = {small}, .outputs = {small}}, {times3(values(small, 1))})
            .outputs[0],
        data()["softmax"], "softmax");
    const TensorDesc logits{6, 8};
    for (const json& c : data()["losses"]) {
        OpDesc d{.kind = OpKind::softmax_cross_entropy};
        d.inputs = {logits, with({6}, Layout::plain, DType::i32), with({1}, Layout::plain, DType::i32)};
        d.outputs = {result_desc(), logits};
        d.label_smoothing = c["smoothing"];
        d.gradient = true;
        std::vector<Values> in = {times3(values(logits, 1)), {3, 0, 7, 2, 2, 5}, {6}};
        if (c["weighted"]) {
            d.class_weights = true;
            d.inputs.push_back({8});
            in.push_back(values({8}, 2));
            for (double& weight : in.back()) weight += 1.25;
        }
        const Outcome out = run(d, in);
        EXPECT_NEAR(out.outputs[0][0], c["loss"].get<double>(), 1e-6);
        EXPECT_NEAR(out.outputs[0][1] / out.outputs[0][2], out.outputs[0][0], 1e-12);
        expect_close(out.outputs[1], c["dlogits"], "dlogits");
    }
}

TEST(PyTorch, optimizers_agree_over_many_updates_with_a_schedule_and_clipping) {
    for (const json& c : data()["optimizers"]) {
        const std::string name = c["name"];
        const TensorDesc flat{128}, check_desc = with({sizeof(GradientCheck)}, Layout::plain, DType::u8),
                                    control_desc = with({sizeof(StepControl)}, Layout::plain, DType::u8);
        OpDesc d;
        d.optimizer = {.nesterov = name == "nesterov", .beta2 = 0.99, .epsilon = 1e-5, .weight_decay = 1e-2};
        d.optimizer.kind = name == "adam"    ? OptimizerKind::adam
                           : name == "adamw" ? OptimizerKind::adamw
                                             : OptimizerKind::sgd;
        d.optimizer.clip_norm = c["clip"];
        d.parameters = {{.offset = 0, .elements = 40}};
        std::vector<float> w(128), gradient(128), first(128), second(128);
        const Values start = values({40}, 1);
        std::copy(start.begin(), start.end(), w.begin());
        BatchResult result{};
        GradientCheck check{};
        StepControl control{};
        StepProgress progress{};
        control.schedule = {12, 1, {{0, 11, 0.01, 0.1, 0.95, 0.85, Curve::linear, Curve::linear}}};
        control.last_update = 12;
        const auto update = [&](OpKind kind, const std::vector<TensorDesc>& in,
                                const std::vector<TensorDesc>& out, const std::vector<void*>& inputs,
                                const std::vector<void*>& outputs) {
            d.kind = kind;
            d.inputs = in;
            d.outputs = out;
            EXPECT_TRUE(run_in_place(d, inputs, outputs, machine()));
        };
        const bool two_moments = d.optimizer.kind != OptimizerKind::sgd;
        for (int step = 0; step < 12; ++step) {
            const Values g = values({40}, 10 + step);
            std::copy(g.begin(), g.end(), gradient.begin());
            update(OpKind::check_gradients, {flat, result_desc(), control_desc}, {check_desc},
                   {gradient.data(), &result, &control}, {&check});
            EXPECT_NEAR(check.norm, c["norms"][static_cast<std::size_t>(step)].get<double>(), 1e-5);
            std::vector<TensorDesc> out = {flat, flat};
            std::vector<void*> outputs = {w.data(), first.data()};
            if (two_moments) {
                out.push_back(flat);
                outputs.push_back(second.data());
            }
            update(OpKind::update_parameters, {flat, check_desc, control_desc}, out,
                   {gradient.data(), &check, &control}, outputs);
            update(OpKind::commit_step, {result_desc(), check_desc},
                   {control_desc, with({sizeof(StepProgress)}, Layout::plain, DType::u8)}, {&result, &check},
                   {&control, &progress});
        }
        // Twelve updates of float arithmetic in the same order: a few units in the last place.
        expect_close(Values(w.begin(), w.begin() + 40), c["w"], name, 2e-6);
    }
}

// LARS and LAMB over ten updates of several tensors, with rates of their own, without decay, of zeros
// and with no gradient (tests/reference/generate_trust_ratios.py).
TEST(Timm, lars_and_lamb_agree_over_many_updates_of_several_tensors) {
    const json all = json::parse(std::ifstream(ONECYCLE_TEST_DATA "/trust_ratios.json"));
    const json& tensors = all["tensors"];
    const int steps = all["steps"];
    for (const json& c : all["cases"]) {
        const std::string name = c["name"];
        Step step(machine_under_test());
        step.desc.optimizer = {.kind = name == "lars" ? OptimizerKind::lars : OptimizerKind::lamb,
                               .beta2 = 0.99,
                               .epsilon = 1e-5,
                               .weight_decay = c["decay"],
                               .clip_norm = c["clip"]};
        step.desc.parameters.clear();
        std::int64_t offset = 0;
        for (const json& t : tensors) {
            const std::int64_t n = t[0];
            step.desc.parameters.push_back({.offset = offset,
                                            .elements = n,
                                            .lr_multiplier = t[2],
                                            .decay_multiplier = t[1] ? 1.0f : 0.0f});
            offset += (n + 127) / 128 * 128;
        }
        ASSERT_LE(offset, Step::n);
        const auto fill = [&](std::vector<float>& flat, std::size_t zero, std::int64_t seed) {
            for (std::size_t i = 0; i < tensors.size(); ++i) {
                const ParameterSegment& s = step.desc.parameters[i];
                const Values v = values({s.elements}, seed + static_cast<std::int64_t>(i));
                for (std::size_t k = 0; k < v.size(); ++k)
                    flat[static_cast<std::size_t>(s.offset) + k] =
                        tensors[i][zero] ? 0.0f : static_cast<float>(v[k]);
            }
        };
        fill(step.parameters, 3, 1);
        const double rate = c["rate"];
        step.control.schedule = {
            steps, 1, {{0, steps - 1.0, 0.1 * rate, rate, 0.95, 0.85, Curve::linear, Curve::linear}}};
        step.control.last_update = steps;
        for (int k = 0; k < steps; ++k) {
            fill(step.gradients, 4, 10 * (k + 1));
            step.run_check();
            step.run_update();
            step.run_commit();
        }
        for (std::size_t i = 0; i < tensors.size(); ++i) {
            const auto begin = step.parameters.begin() + step.desc.parameters[i].offset;
            expect_close(Values(begin, begin + step.desc.parameters[i].elements), c["w"][i],
                         name + " tensor " + std::to_string(i), 4e-6);
        }
    }
}

}  // namespace

}  // namespace onecycle::testing
