// How programs run: any order that the graph allows, any number of threads and every way to launch
// give the same bits; nothing is allocated in a step.
#include <gtest/gtest.h>

#include <random>

#include "count_allocations.h"
#include "nn/network_of.h"
#include "nn/training.h"

namespace onecycle {
namespace {

using testing::cpu_machine;
using testing::Session;
using testing::training_key;

const NamedNetwork tiny{.arch = "resnet18", .classes = 10, .size = 32};

std::string digest_after(Session& session, int steps) {
    for (int i = 0; i < steps; ++i) session.runnable.launch();
    return session.state.digest();
}

void prepare(Session& session) {
    session.state.initialise(1);
    session.set_formula_batch();
}

TEST(Execution, bits_do_not_depend_on_the_number_of_threads) {
    for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::lars, OptimizerKind::lamb}) {
        std::string expected;
        for (int threads : {1, 2, 4}) {
            Session session(tiny, training_key(16, {.kind = kind}), cpu_machine(threads));
            prepare(session);
            const std::string digest = digest_after(session, kind == OptimizerKind::sgd ? 3 : 1);
            if (expected.empty()) expected = digest;
            EXPECT_EQ(digest, expected) << threads << " threads";
        }
    }
}

// A device that runs each launch in a new random order among those that branches and waits allow.
class ShufflingDevice final : public Device {
  public:
    explicit ShufflingDevice(std::unique_ptr<Device> inner) : inner_(std::move(inner)) {}
    DeviceKind kind() const override { return inner_->kind(); }
    std::string name() const override { return inner_->name(); }
    std::byte* allocate(std::size_t bytes) override {
        allocated += bytes;
        return inner_->allocate(bytes);
    }
    void release(std::byte* memory) noexcept override { inner_->release(memory); }
    SharedPointers allocate_shared(std::size_t bytes) override {
        allocated += bytes;
        return inner_->allocate_shared(bytes);
    }
    void release_shared(std::byte* memory) noexcept override { inner_->release_shared(memory); }
    void copy_in(std::byte* to, const void* from, std::size_t n) override { inner_->copy_in(to, from, n); }
    void copy_out(void* to, const std::byte* from, std::size_t n) override { inner_->copy_out(to, from, n); }
    void copy(std::byte* to, const std::byte* from, std::size_t n) override { inner_->copy(to, from, n); }
    void copy_ahead(std::byte* to, const std::byte* from, std::size_t n) override {
        inner_->copy_ahead(to, from, n);
    }
    std::unique_ptr<SideCopy> make_side_copy(const std::vector<SideCopy::Piece>& pieces) override {
        return inner_->make_side_copy(pieces);
    }
    Stream& stream() override { return inner_->stream(); }
    void synchronize() override {}
    bool busy() override { return false; }

    class Shuffled final : public Launchable {
      public:
        Shuffled(Device& device, std::vector<ProgramPiece> step) : stream_(device), step_(std::move(step)) {}
        void launch() override {
            std::vector<bool> done(step_.size(), false);
            for (std::size_t ran = 0; ran < step_.size(); ++ran) {
                std::vector<std::size_t> ready;
                std::map<int, bool> branch_blocked;
                for (std::size_t i = 0; i < step_.size(); ++i) {
                    if (done[i] || branch_blocked[step_[i].branch]) continue;
                    branch_blocked[step_[i].branch] = true;  // the first of its branch that is left
                    bool free = true;
                    for (int wait : step_[i].waits) free = free && done[static_cast<std::size_t>(wait)];
                    if (free) ready.push_back(i);
                }
                const std::size_t chosen = ready[random_() % ready.size()];
                step_[chosen].run(stream_);
                done[chosen] = true;
            }
        }

      private:
        Stream stream_;
        std::vector<ProgramPiece> step_;
        std::mt19937 random_{7};
    };
    std::unique_ptr<Launchable> prepare(std::vector<ProgramPiece> step) override {
        return std::make_unique<Shuffled>(*this, std::move(step));
    }

    std::size_t allocated = 0;

  private:
    std::unique_ptr<Device> inner_;
};

TEST(Execution, any_order_that_the_graph_allows_gives_the_same_bits) {
    Session plain(tiny, training_key(4));
    prepare(plain);
    ProgramKey branched = training_key(4);
    branched.side_branch = true;
    Session shuffled(tiny, branched,
                     {std::make_unique<ShufflingDevice>(make_cpu_device(2)), make_cpu_backend(2)});
    prepare(shuffled);
    EXPECT_EQ(digest_after(plain, 4), digest_after(shuffled, 4));
}

TEST(Execution, device_memory_is_what_the_plan_says) {
    auto device = std::make_unique<ShufflingDevice>(make_cpu_device(2));
    ShufflingDevice& counted = *device;
    Session session(tiny, training_key(4), {std::move(device), make_cpu_backend(2)});
    std::size_t planned = session.program.arena_bytes + session.program.input_bytes;
    for (std::size_t space = 0; space < space_count; ++space)
        planned += session.state.bytes(static_cast<Space>(space));
    EXPECT_EQ(counted.allocated, planned);
    prepare(session);
    digest_after(session, 2);
    EXPECT_EQ(counted.allocated, planned) << "nothing more is taken while steps run";
}

TEST(Execution, the_whole_planned_peak_is_used_and_not_a_byte_more) {
    Session session(tiny, training_key(4));
    prepare(session);
    std::size_t highest = 0;
    for (const Buffer& buffer : session.program.buffers)
        if (buffer.space == Space::arena) highest = std::max(highest, buffer.offset + buffer.bytes);
    for (const ProgramOp& step : session.program.ops)
        if (step.workspace) highest = std::max(highest, step.workspace_offset + step.workspace);
    EXPECT_EQ(highest, session.program.arena_bytes);

    // Bytes behind the plan's end keep their pattern.
    const std::size_t guard = 1 << 20;
    DeviceMemory arena(*session.device, session.program.arena_bytes + guard);
    const std::vector<std::byte> pattern(guard, std::byte{0x5A});
    session.device->copy_in(arena.data() + session.program.arena_bytes, pattern.data(), guard);
    Runnable runnable(session.program, session.state, arena);
    const auto pixels = reference::images("images", 4, 32);
    const auto labels = reference::labels("labels", 4, 10);
    runnable.set_batch(pixels.data(), labels.data(), 4);
    runnable.launch();
    std::vector<std::byte> after(guard);
    session.device->copy_out(after.data(), arena.data() + session.program.arena_bytes, guard);
    EXPECT_EQ(after, pattern);
}

TEST(Execution, one_by_one_gives_the_bits_of_a_launch) {
    Session launched(tiny, training_key(4)), stepped(tiny, training_key(4));
    prepare(launched);
    prepare(stepped);
    int observed = 0;
    for (int i = 0; i < 2; ++i) {
        launched.runnable.launch();
        stepped.runnable.run_eagerly([&](int, double seconds) { observed += seconds >= 0; });
    }
    EXPECT_EQ(observed, 2 * static_cast<int>(stepped.program.ops.size()));
    EXPECT_EQ(launched.state.digest(), stepped.state.digest());
}

TEST(Execution, fused_steps_compute_what_the_single_layers_compute) {
    ProgramKey single = training_key(4);
    single.fuse = false;
    Session fused(tiny, training_key(4)), layers(tiny, single);
    for (Session* session : {&fused, &layers}) {
        prepare(*session);
        session->runnable.launch();
    }
    EXPECT_NEAR(fused.runnable.read_result().loss, layers.runnable.read_result().loss, 1e-5);
    const auto a = fused.state.weights(), b = layers.state.weights();
    for (const auto& [name, tensor] : a) {
        double squares = 0, difference = 0;
        for (std::size_t i = 0; i < tensor.values.size(); ++i) {
            const double x = static_cast<double>(tensor.values[i]),
                         y = static_cast<double>(b.at(name).values[i]);
            squares += x * x;
            difference += (x - y) * (x - y);
        }
        // One step of rate 0.01 from equal weights: rounding of the gradients only.
        EXPECT_LE(std::sqrt(difference), 1e-5 * std::sqrt(squares) + 1e-7) << name;
    }
}

TEST(Execution, a_step_allocates_nothing_of_size) {
    Session session(tiny, training_key(4));
    prepare(session);
    session.runnable.launch();
    // oneDNN keeps a small map of arguments for each primitive it executes; everything above that
    // counts.
    testing::start_counting_allocations(4096);
    session.runnable.launch();
    EXPECT_EQ(testing::stop_counting_allocations().count, 0u);
}

TEST(Execution, a_step_that_is_not_finite_changes_nothing_and_says_where) {
    Session session(tiny, training_key(4));
    prepare(session);
    session.runnable.launch();
    auto weights = session.state.weights();
    weights["layer2.0.conv1.weight"].values[5] = std::numeric_limits<float>::infinity();
    session.state.set_weights(weights);
    const std::string before = session.state.digest();
    session.runnable.launch();
    const StepControl control = session.state.read_control();
    EXPECT_EQ(control.stop, stop_not_finite);
    EXPECT_NE(control.first_bad, -1);
    EXPECT_EQ(control.update, 1);
    EXPECT_EQ(session.state.digest(), before);
}

TEST(Execution, a_launch_after_the_last_update_changes_nothing) {
    Session session(tiny, training_key(4));
    prepare(session);
    StepControl control = session.state.read_control();
    control.last_update = 2;
    session.state.write_control(control);
    const std::string at_the_end = digest_after(session, 2);
    EXPECT_EQ(digest_after(session, 2), at_the_end);
    EXPECT_EQ(session.state.read_control().update, 2);
}

TEST(State, snapshot_and_restore_leave_no_trace) {
    Session session(tiny, training_key(4));
    prepare(session);
    session.runnable.launch();
    const std::string before = session.state.digest();
    const State::Snapshot snapshot = session.state.snapshot();
    EXPECT_NE(digest_after(session, 2), before);
    session.state.restore(snapshot);
    EXPECT_EQ(session.state.digest(), before);
}

TEST(State, weights_and_moments_go_out_and_in_unchanged) {
    OptimizerOptions adamw{.kind = OptimizerKind::adamw, .ema_decay = 0.9};
    Session a(tiny, training_key(4, adamw)), b(tiny, training_key(4, adamw));
    prepare(a);
    prepare(b);
    digest_after(a, 2);
    b.state.set_weights(a.state.weights());
    b.state.set_weights(a.state.weights(true), true);
    b.state.set_moments(a.state.moments());
    b.state.write_control(a.state.read_control());
    EXPECT_EQ(a.state.digest(), b.state.digest());
}

TEST(State, initial_weights_have_the_spread_of_torchvision) {
    Session session({.arch = "resnet18", .classes = 10, .size = 32}, training_key(2));
    session.state.initialise(3);
    const auto weights = session.state.weights();
    const auto moments = [&](const std::string& name) {
        double sum = 0, squares = 0;
        const auto& values = weights.at(name).values;
        for (float v : values) {
            sum += static_cast<double>(v);
            squares += static_cast<double>(v) * static_cast<double>(v);
        }
        const double n = static_cast<double>(values.size());
        return std::pair{sum / n, std::sqrt(squares / n)};
    };
    // Kaiming normal, fan-out: sqrt(2 / (512 * 9)), over 2.4 million draws.
    EXPECT_NEAR(moments("layer4.1.conv2.weight").second / std::sqrt(2.0 / (512 * 9)), 1.0, 0.002);
    EXPECT_NEAR(moments("layer4.1.conv2.weight").first, 0.0, 5e-5);
    // Uniform within 1/sqrt(512).
    EXPECT_NEAR(moments("fc.weight").second * std::sqrt(3.0 * 512), 1.0, 0.03);
    for (float v : weights.at("fc.bias").values) EXPECT_LE(std::abs(v), 1 / std::sqrt(512.0f));
    for (float v : weights.at("bn1.weight").values) EXPECT_EQ(v, 1.0f);
    for (float v : weights.at("bn1.running_var").values) EXPECT_EQ(v, 1.0f);
}

}  // namespace
}  // namespace onecycle
