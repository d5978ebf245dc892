// What freezing and dropout promise of whole training steps, on the CPU and on emulated CUDA.
#include <gtest/gtest.h>

#include "nn/network_of.h"
#include "nn/training.h"

namespace onecycle {
namespace {

using testing::cpu_machine;
using testing::emulated_machine;
using testing::Session;
using testing::training_key;

const NamedNetwork tiny{.arch = narrow_resnet, .classes = 10, .size = 32, .head = Head::fastai};
constexpr int body = 5;

// Everything that could move a weight is on: momentum, weight decay, Adam, an average.
ProgramKey key_of(int parts, bool norms, OptimizerKind kind = OptimizerKind::adamw) {
    ProgramKey key = training_key(4, {.kind = kind, .epsilon = 1e-5, .weight_decay = 0.1, .ema_decay = 0.9});
    key.frozen = {parts, norms};
    key.seed = 3;
    return key;
}

void prepare(Session& session) {
    session.state.initialise(1);
    session.state.reset_ema();
    session.set_formula_batch();
}

void run(Session& session, int steps) {
    for (int i = 0; i < steps; ++i) session.runnable.launch();
    session.device->synchronize();
}

bool in_head(const std::string& name) {
    return name.starts_with("head.");
}
bool of_norm(const std::string& name) {
    return name.find(".bn") != std::string::npos || name.starts_with("bn") ||
           name.find("downsample.1") != std::string::npos;
}

testing::Machine machine_of(const std::string& name) {
    return name == "cpu" ? cpu_machine() : emulated_machine(name == "bf16" ? DType::bf16 : DType::f32);
}

class Freezing : public ::testing::TestWithParam<std::string> {};

TEST_P(Freezing, leaves_frozen_parameters_and_their_ema_equal_to_the_bit_and_trains_the_others) {
    for (const auto& [norms, kind] : {std::pair{false, OptimizerKind::adamw},
                                      {true, OptimizerKind::sgd},
                                      {false, OptimizerKind::lars},
                                      {true, OptimizerKind::lamb}}) {
        Session session(tiny, key_of(body, norms, kind), machine_of(GetParam()));
        prepare(session);
        const auto before = session.state.weights();
        run(session, 2);
        ASSERT_EQ(session.state.read_control().update, 2);
        const auto after = session.state.weights(), ema = session.state.weights(true);
        for (const auto& [name, tensor] : before) {
            const bool frozen = !in_head(name) && (norms || !of_norm(name));
            EXPECT_EQ(after.at(name).values == tensor.values, frozen) << name << " norms " << norms;
            EXPECT_EQ(ema.at(name).values == tensor.values, frozen) << name << " norms " << norms;
        }
    }
}

TEST_P(Freezing, changes_no_gradient_of_what_still_learns) {
    Session all(tiny, key_of(0, false), machine_of(GetParam()));
    Session frozen(tiny, key_of(body, false), machine_of(GetParam()));
    for (Session* session : {&all, &frozen}) {
        prepare(*session);
        run(*session, 1);
    }
    EXPECT_EQ(all.runnable.read_result().loss, frozen.runnable.read_result().loss);
    for (const Parameter& parameter : all.network.parameters())
        if (in_head(parameter.name) || of_norm(parameter.name)) {
            EXPECT_EQ(all.runnable.read(all.buffer("grad " + parameter.name)),
                      frozen.runnable.read(frozen.buffer("grad " + parameter.name)))
                << parameter.name;
        }
    EXPECT_LT(frozen.program.arena_bytes, all.program.arena_bytes);
}

TEST_P(Freezing, with_its_norms_normalises_by_the_running_statistics) {
    // The program that evaluates sees the same features: with the head as it was, its loss is that
    // of the step.
    NamedNetwork options = tiny;
    options.dropout = 0;
    options.head = Head::linear;  // without batch statistics
    ProgramKey key = key_of(body, true);
    Session training(options, key, machine_of(GetParam()));
    key.mode = Mode::evaluate;
    Session evaluation(options, key, machine_of(GetParam()));
    for (Session* session : {&training, &evaluation}) {
        prepare(*session);
        session->set_formula_weights(0.5);
        run(*session, 1);
    }
    EXPECT_EQ(training.runnable.read_result().loss, evaluation.runnable.read_result().loss);
}

TEST_P(Freezing, of_some_layers_leaves_the_rest_to_learn) {
    Session session(tiny, key_of(3, true), machine_of(GetParam()));
    prepare(session);
    const auto before = session.state.weights();
    run(session, 2);
    for (const auto& [name, tensor] : session.state.weights()) {
        const bool late = name.starts_with("layer3") || name.starts_with("layer4") || in_head(name);
        EXPECT_EQ(before.at(name).values != tensor.values, late) << name;
    }
}

TEST_P(Freezing, discriminative_rates_move_each_group_by_its_factor) {
    // SGD without momentum or decay: a step is rate times gradient, so factors show in the
    // movement.
    ProgramKey key = training_key(4, {.weight_decay = 0});
    Session plain(tiny, key, machine_of(GetParam()));
    key.group_rates = {0.25, 0.5, 1};
    Session rates(tiny, key, machine_of(GetParam()));
    std::map<std::string, HostTensor> before;
    for (Session* session : {&plain, &rates}) {
        session->state.initialise(1);
        session->set_formula_batch();
        before = session->state.weights();
        run(*session, 1);
    }
    const auto a = plain.state.weights(), b = rates.state.weights();
    for (const Parameter& parameter : plain.network.parameters()) {
        const double factor = key.group_rates[static_cast<std::size_t>(parameter.group)];
        const auto& from = before.at(parameter.name).values;
        for (std::size_t i = 0; i < from.size(); i += 97) {
            const double whole = static_cast<double>(a.at(parameter.name).values[i] - from[i]);
            const double part = static_cast<double>(b.at(parameter.name).values[i] - from[i]);
            ASSERT_NEAR(part, factor * whole, 1e-6 * std::max(std::abs(whole), std::abs(double{from[i]})))
                << parameter.name;
        }
    }
}

// A new stage: cleared moments, a schedule that begins anew, and a counter that goes on.
TEST_P(Freezing, a_stage_counts_its_schedule_and_bias_correction_from_its_own_start) {
    NamedNetwork options = tiny;
    options.dropout = 0;  // its masks follow the counter
    Session first(options, key_of(0, false), machine_of(GetParam()));
    Session later(options, key_of(0, false), machine_of(GetParam()));
    for (Session* session : {&first, &later}) {
        prepare(*session);
        StepControl control = session->state.read_control();
        control.schedule = testing::constant_schedule(0.001, 0.9);
        control.schedule.segments[0].lr_end = 0.1;
        if (session == &later) control.update = control.stage_start = 400;
        session->state.write_control(control);
        run(*session, 3);
    }
    EXPECT_EQ(later.state.read_control().update, 403);
    const auto a = first.state.weights(), b = later.state.weights();
    for (const auto& [name, tensor] : a) EXPECT_EQ(tensor.values, b.at(name).values) << name;
}

INSTANTIATE_TEST_SUITE_P(Machines, Freezing, ::testing::Values("cpu", "emulated", "bf16"),
                         [](const auto& test) { return test.param; });

TEST(Dropout, masks_follow_the_update_and_nothing_else) {
    const auto digest_of = [](int threads, int launches_before, std::uint64_t seed) {
        ProgramKey key = key_of(0, false);
        key.seed = seed;
        Session session(tiny, key, cpu_machine(threads));
        prepare(session);
        // Launches that have no effect.
        StepControl control = session.state.read_control();
        control.stop = 1;
        session.state.write_control(control);
        run(session, launches_before);
        control.stop = 0;
        session.state.write_control(control);
        run(session, 2);
        return session.state.digest();
    };
    const std::string expected = digest_of(1, 0, 3);
    EXPECT_EQ(digest_of(2, 0, 3), expected);
    EXPECT_EQ(digest_of(4, 5, 3), expected);
    EXPECT_NE(digest_of(1, 0, 4), expected);
}

// Micro batches of equal images: with equal masks the mean gradient would be that of one of them.
TEST(Dropout, of_every_micro_batch_is_another_one) {
    ProgramKey key = key_of(0, false);
    key.optimizer.accumulate = 4;
    std::vector<double> losses;
    Session session(tiny, key);  // the first micro batch
    key.micro = 1;
    Program middle = compile(session.network, session.layout, *session.backend, key);
    DeviceMemory arena(*session.device, middle.arena_bytes);
    Runnable between(middle, session.state, arena);
    prepare(session);
    const auto pixels = reference::images("images", 4, 32);
    const auto labels = reference::labels("labels", 4, 10);
    between.set_batch(pixels.data(), labels.data(), 4);
    session.runnable.launch();
    losses.push_back(session.runnable.read_result().loss);
    for (int micro = 1; micro < 3; ++micro) {
        between.launch();
        losses.push_back(between.read_result().loss);
    }
    for (std::size_t a = 0; a < losses.size(); ++a)
        for (std::size_t b = 0; b < a; ++b) EXPECT_NE(losses[a], losses[b]) << a << " and " << b;
}

TEST(Dropout, of_a_step_is_the_same_after_the_steps_before_and_alone) {
    Session through(tiny, key_of(0, false)), resumed(tiny, key_of(0, false));
    prepare(through);
    run(through, 2);
    const auto weights = through.state.weights(), ema = through.state.weights(true);
    const auto moments = through.state.moments();
    run(through, 1);
    prepare(resumed);
    resumed.state.set_weights(weights);
    resumed.state.set_weights(ema, true);
    resumed.state.set_moments(moments);
    StepControl control = resumed.state.read_control();
    control.update = 2;
    resumed.state.write_control(control);
    run(resumed, 1);
    EXPECT_EQ(resumed.state.digest(), through.state.digest());
}

}  // namespace
}  // namespace onecycle
