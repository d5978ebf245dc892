// Whole training steps on emulated CUDA: the device's promises, and 16-bit types beside f32.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <thread>

#include "nn/network_of.h"
#include "nn/state_copy.h"
#include "nn/training.h"
#include "onecycle/error.h"

namespace onecycle {
namespace {

using testing::cpu_machine;
using testing::emulated_machine;
using testing::Machine;
using testing::Session;
using testing::training_key;

const NamedNetwork tiny{.arch = narrow_resnet, .classes = 10, .size = 32};
constexpr DType types[] = {DType::f32, DType::bf16, DType::f16};

void prepare(Session& session) {
    session.state.initialise(1);
    session.set_formula_batch();
    StepControl control = session.state.read_control();
    control.loss_scale = session.layout.compute == DType::f16 ? 1024 : 1;
    session.state.write_control(control);
}

std::string digest_after(Session& session, int steps) {
    for (int i = 0; i < steps; ++i) session.runnable.launch();
    session.device->synchronize();
    return session.state.digest();
}

// A replay runs the captured graph in a new random order that its edges allow, blocks of a kernel
// too.
TEST(Emulated, graphs_in_any_order_and_single_steps_give_the_same_bits) {
    for (DType type : types) {
        ProgramKey key = training_key(4);
        if (type == DType::bf16) key.optimizer.kind = OptimizerKind::lars;
        if (type == DType::f16) key.optimizer.kind = OptimizerKind::lamb;
        Session graph(tiny, key, emulated_machine(type));
        Session again(tiny, key, emulated_machine(type));
        Session eager(
            tiny, key,
            {testing::cuda_device_under_test(StepMode::eager), testing::cuda_backend_under_test(), type});
        for (Session* session : {&graph, &again, &eager}) prepare(*session);
        const std::string expected = digest_after(graph, 2);
        EXPECT_EQ(digest_after(again, 2), expected) << name_of(type);
        EXPECT_EQ(digest_after(eager, 2), expected) << name_of(type);
        EXPECT_EQ(graph.state.read_control().update, 2) << name_of(type);
    }
}

TEST(Emulated, a_step_is_one_graph_launch_and_waits_for_nothing) {
    Session session(tiny, training_key(4), emulated_machine(DType::bf16));
    prepare(session);
    session.runnable.launch();
    session.device->synchronize();
    const RuntimeCalls before = session.device->runtime_calls();
    constexpr int steps = 3;
    for (int i = 0; i < steps; ++i) session.runnable.launch();
    RuntimeCalls after = session.device->runtime_calls();
    EXPECT_EQ(after.blocking, before.blocking);
    for (auto& [name, count] : after.of) {
        const auto earlier = before.of.find(name);
        count -= earlier == before.of.end() ? 0 : earlier->second;
        EXPECT_EQ(count, name == "cudaGraphLaunch" || name == "cudaSetDevice" ? steps : 0u) << name;
    }
    session.device->synchronize();
}

// --- switches of the environment ---

class Switched {
  public:
    Switched(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
    ~Switched() { unsetenv(name_); }
    Switched(const Switched&) = delete;
    Switched& operator=(const Switched&) = delete;

  private:
    const char* name_;
};

std::uint64_t launched_together(Device& device) {
    const RuntimeCalls calls = device.runtime_calls();
    const auto found = calls.of.find("cudaLaunchCooperativeKernel");
    return found == calls.of.end() ? 0 : found->second;
}

TEST(Emulated, every_combination_of_switches_gives_the_same_bits) {
    std::string expected;
    for (const char* branch : {"1", "0"})
        for (const char* one_grid : {"1", "0"}) {
            const Switched switches[] = {{"ONECYCLE_BRANCH", branch}, {"ONECYCLE_ONE_GRID", one_grid}};
            Machine machine = emulated_machine(DType::bf16);
            const std::uint64_t before = launched_together(*machine.device);
            Session session(tiny, training_key(2), std::move(machine));
            prepare(session);
            const std::string digest = digest_after(session, 1);
            if (expected.empty()) expected = digest;
            EXPECT_EQ(digest, expected) << branch << one_grid;
            EXPECT_EQ(launched_together(*session.device) > before, *one_grid == '1');
            const bool branched = std::ranges::any_of(session.program.ops,
                                                      [](const ProgramOp& step) { return step.branch == 1; });
            EXPECT_EQ(branched, *branch == '1');
        }
}

TEST(Emulated, a_switch_that_is_neither_on_nor_off_is_an_error_that_names_it) {
    for (const char* name : {"ONECYCLE_BRANCH", "ONECYCLE_ONE_GRID"}) {
        const Switched wrong(name, "yes");
        try {
            make_emulated_backend();
            ADD_FAILURE() << name;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::usage);
            EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
        }
        const Switched unset(name, "");
        EXPECT_NO_THROW(make_emulated_backend());
    }
}

// The emulator runs a stream when somebody waits for it. Without a wait for the steps the copy
// arrives first; with it they are all done before the copy leaves for the host: one that read the
// live state would see the later ones.
void expect_copy_of_its_moment(bool steps_first) {
    Session copied(tiny, training_key(4), emulated_machine(DType::bf16));
    Session one_step(tiny, training_key(4), emulated_machine(DType::bf16));
    for (Session* session : {&copied, &one_step}) prepare(*session);
    digest_after(one_step, 1);
    StateCopy copy(copied.state);
    for (int time = 0; time < 2; ++time) {  // the first is taken in vain
        const std::uint64_t before = copied.device->runtime_calls().blocking;
        if (time) copied.runnable.launch();
        copy.begin();
        if (time) {
            for (int later = 0; later < 2; ++later) copied.runnable.launch();
        }
        EXPECT_EQ(copied.device->runtime_calls().blocking, before) << "it waited";
    }
    if (steps_first) copied.device->synchronize();
    std::thread([&] { copy.wait(); }).join();
    EXPECT_EQ(copy.control().update, 1);
    auto expected = one_step.state.weights();
    expected.merge(one_step.state.moments());
    auto tensors = copied.state.weight_tensors();
    for (const StateTensor& tensor : copied.state.moment_tensors()) tensors.push_back(tensor);
    EXPECT_EQ(tensors.size(), expected.size());
    for (const StateTensor& tensor : tensors) {
        std::vector<float> plain(static_cast<std::size_t>(tensor.desc.elements()));
        to_plain(tensor.desc, copy.stored(tensor).data(), plain.data());
        EXPECT_EQ(plain, expected.at(tensor.name).values) << tensor.name;
    }
}

TEST(Emulated, a_copy_of_the_state_is_of_its_moment_when_it_arrives_before_later_steps) {
    expect_copy_of_its_moment(false);
}

TEST(Emulated, a_copy_of_the_state_is_of_its_moment_when_it_arrives_after_later_steps) {
    expect_copy_of_its_moment(true);
}

TEST(Emulated, f32_steps_are_those_of_the_cpu) {
    Session cpu(tiny, training_key(4), cpu_machine()), emulated(tiny, training_key(4), emulated_machine());
    for (Session* session : {&cpu, &emulated}) {
        prepare(*session);
        digest_after(*session, 1);
    }
    const double loss = cpu.runnable.read_result().loss;
    EXPECT_NEAR(emulated.runnable.read_result().loss, loss, 1e-5 * loss);
}

// How far apart two states' weights lie, relative to how far the first moved.
double relative_difference(const std::map<std::string, HostTensor>& before, const Session& a,
                           const Session& b) {
    const auto wa = a.state.weights(), wb = b.state.weights();
    double moved = 0, apart = 0;
    for (const auto& [name, tensor] : wa)
        for (std::size_t i = 0; i < tensor.values.size(); ++i) {
            moved += std::pow(tensor.values[i] - before.at(name).values[i], 2);
            apart += std::pow(tensor.values[i] - wb.at(name).values[i], 2);
        }
    return std::sqrt(apart / moved);
}

// One step from the same weights. A rounding of bf16 is 2^-9, of f16 2^-12, and about twenty of
// them follow each other along the network, with random signs; batch norm over few values amplifies
// them.
TEST(Emulated, a_step_in_16_bits_goes_where_the_step_in_f32_goes) {
    Session full(tiny, training_key(16), emulated_machine());
    prepare(full);
    const auto before = full.state.weights();
    digest_after(full, 1);
    const double loss = full.runnable.read_result().loss;
    for (const auto& [type, of_loss, of_weights] :
         {std::tuple{DType::bf16, 0.02, 0.3}, {DType::f16, 0.003, 0.06}}) {
        Session half(tiny, training_key(16), emulated_machine(type));
        prepare(half);
        digest_after(half, 1);
        EXPECT_NEAR(half.runnable.read_result().loss, loss, of_loss * loss) << name_of(type);
        EXPECT_LE(relative_difference(before, full, half), of_weights) << name_of(type);
    }
}

TEST(Emulated, fused_steps_compute_what_the_single_layers_compute) {
    ProgramKey single = training_key(4);
    single.fuse = false;
    Session fused(tiny, training_key(4), emulated_machine()), layers(tiny, single, emulated_machine());
    std::map<std::string, HostTensor> before;
    for (Session* session : {&fused, &layers}) {
        prepare(*session);
        before = session->state.weights();
        digest_after(*session, 1);
    }
    EXPECT_NEAR(fused.runnable.read_result().loss, layers.runnable.read_result().loss, 1e-5);
    EXPECT_LE(relative_difference(before, fused, layers), 1e-3);
}

TEST(Emulated, an_overflow_in_f16_changes_nothing_but_the_loss_scale) {
    Session session(tiny, training_key(4), emulated_machine(DType::f16));
    prepare(session);
    StepControl control = session.state.read_control();
    control.loss_scale = largest_loss_scale;  // gradients of 16 million overflow
    session.state.write_control(control);
    const std::string before = session.state.digest();
    EXPECT_EQ(digest_after(session, 1), before);
    control = session.state.read_control();
    EXPECT_EQ(control.loss_scale, largest_loss_scale / 2);
    EXPECT_EQ(control.update, 0);
    EXPECT_EQ(control.stop, 0);
    int launches = 1;
    while (session.state.read_control().update == 0 && launches < 30) digest_after(session, 1), ++launches;
    EXPECT_LT(launches, 30) << "at a lower scale the step is taken";
    EXPECT_NE(session.state.digest(), before);
}

}  // namespace
}  // namespace onecycle
