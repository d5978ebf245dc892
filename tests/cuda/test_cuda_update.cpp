// The update on the CUDA back end, beside what test_ops_update.cpp promises for all: 16-bit
// buffers, the loss scale, tables of many parameters, and closeness to the CPU.
#include <algorithm>
#include <cmath>

#include "cuda/cuda.h"
#include "device/emulated/block.h"
#include "onecycle/error.h"
#include "ops/update_step.h"
#include "rules/half.h"

namespace onecycle::testing {

namespace {

constexpr DType half_types[] = {DType::bf16, DType::f16};
constexpr float infinity = std::numeric_limits<float>::infinity();

using Halves = std::vector<std::uint16_t>;

std::uint16_t half_of(DType type, float value) {
    return type == DType::bf16 ? from_float<bf16>(value).bits : from_float<f16>(value).bits;
}
float value_of(DType type, std::uint16_t bits) {
    return type == DType::bf16 ? to_float(bf16{bits}) : to_float(f16{bits});
}

// The gradients of `step` in 16 bits; the floats become what those hold.
Halves halve_gradients(Step& step, DType type) {
    Halves halves;
    for (float& g : step.gradients) {
        halves.push_back(half_of(type, g));
        g = value_of(type, halves.back());
    }
    return halves;
}

// Many parameters, last first as the backward pass leaves them, of sizes around pieces and vectors,
// some frozen.
struct ManyParameters {
    std::vector<ParameterSegment> parameters;
    std::int64_t elements = 0;
    std::vector<float> gradients, values, moment1, moment2, ema, ratios;
    GradientCheck check{1, 0.5, 1, 1, -1};
    BatchResult result{};
    StepControl control{};

    ManyParameters() {
        RandomStream random(5, RandomPurpose::demo_data, 0, 0);
        const std::int64_t sizes[] = {1, 3, 64, 127, 128, 129, 1000, 1024, 1025, 5000, 8192, 8193, 20000};
        for (int i = 0; i < 200; ++i) {
            const std::int64_t size = i < 13 ? sizes[i] : 1 + random.below(300);
            parameters.push_back({.offset = elements,
                                  .elements = size,
                                  .lr_multiplier = static_cast<double>(i % 3) * 0.5,
                                  .decay_multiplier = static_cast<float>(i % 2),
                                  .frozen = i % 7 == 6});
            elements += (size + 127) / 128 * 128;
        }
        std::reverse(parameters.begin(), parameters.end());
        for (auto* buffer : {&gradients, &values, &moment1, &moment2, &ema}) {
            buffer->resize(static_cast<std::size_t>(elements));
            for (float& x : *buffer) x = static_cast<float>(random.uniform(-1, 1));
        }
        for (float& x : moment2) x = std::abs(x);
        control.schedule = {100, 1, {{0, 100, 0.1, 0.2, 0.95, 0.85, Curve::cosine, Curve::cosine}}};
        control.update = 17;
        control.last_update = 100;
    }

    void update(const OptimizerOptions& optimizer, const Machine& machine) {
        const TensorDesc flat{elements};
        OpDesc d{.kind = OpKind::update_parameters,
                 .inputs = {flat, bytes_of<GradientCheck>(), bytes_of<StepControl>()},
                 .outputs = {flat, flat},
                 .optimizer = optimizer,
                 .parameters = parameters};
        std::vector<void*> out = {values.data(), moment1.data()};
        if (has_second_moment(optimizer.kind)) {
            d.outputs.push_back(flat);
            out.push_back(moment2.data());
        }
        if (optimizer.ema_decay > 0) {
            d.outputs.push_back(flat);
            out.push_back(ema.data());
        }
        std::vector<void*> in = {gradients.data(), &check, &control};
        if (has_trust_ratio(optimizer.kind)) {
            find_ratios(optimizer, machine);
            d.inputs.push_back({static_cast<std::int64_t>(ratios.size())});
            in.push_back(ratios.data());
        }
        EXPECT_TRUE(run_in_place(d, in, out, machine));
    }
    void find_ratios(const OptimizerOptions& optimizer, const Machine& machine) {
        ratios.assign(parameters.size(), 1.0f);
        const TensorDesc flat{elements};
        OpDesc d{.kind = OpKind::trust_ratio,
                 .inputs = {flat, bytes_of<GradientCheck>(), bytes_of<StepControl>(), flat},
                 .outputs = {{static_cast<std::int64_t>(ratios.size())}},
                 .optimizer = optimizer,
                 .parameters = parameters};
        std::vector<void*> in = {gradients.data(), &check, &control, values.data()};
        if (has_second_moment(optimizer.kind)) {
            d.inputs.insert(d.inputs.end(), {flat, flat});
            in.insert(in.end(), {moment1.data(), moment2.data()});
        }
        EXPECT_TRUE(run_in_place(d, in, {ratios.data()}, machine));
    }
    void find_norm(const Machine& machine) {
        const OpDesc d{.kind = OpKind::check_gradients,
                       .inputs = {{elements}, bytes_of<BatchResult>(), bytes_of<StepControl>()},
                       .outputs = {bytes_of<GradientCheck>()},
                       .parameters = parameters};
        EXPECT_TRUE(run_in_place(d, {gradients.data(), &result, &control}, {&check}, machine));
    }
};

const OptimizerOptions optimizers[] = {{.kind = OptimizerKind::sgd, .weight_decay = 0.1},
                                       {.kind = OptimizerKind::sgd, .nesterov = true, .weight_decay = 0.1},
                                       {.kind = OptimizerKind::adam, .weight_decay = 0.1},
                                       {.kind = OptimizerKind::adamw, .weight_decay = 0.1},
                                       {.kind = OptimizerKind::lars, .weight_decay = 0.1},
                                       {.kind = OptimizerKind::lamb, .weight_decay = 0.1},
                                       {.kind = OptimizerKind::lamb, .ema_decay = 0.9},
                                       {.kind = OptimizerKind::sgd, .ema_decay = 0.9},
                                       {.kind = OptimizerKind::adamw, .ema_decay = 0.9}};

// Numbers are below 2 or so: one unit in the last place is 1.2e-7 at most.
void expect_within_two_units(const std::vector<float>& a, const std::vector<float>& b, const char* what) {
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t k = 0; k < a.size(); ++k)
        ASSERT_LE(std::abs(a[k] - b[k]), 2 * 1.2e-7f * std::max(1.0f, std::abs(b[k]))) << what << " " << k;
}

TEST(CudaUpdateParameters, is_the_cpus_for_every_optimizer_and_many_parameters) {
    for (const OptimizerOptions& optimizer : optimizers) {
        ManyParameters cuda, cpu;
        const std::vector<float> before = cuda.values;
        cuda.update(optimizer, emulated_machine());
        cpu.update(optimizer, cpu_machine(2));
        expect_within_two_units(cuda.ratios, cpu.ratios, "ratio");
        expect_within_two_units(cuda.values, cpu.values, "weight");
        expect_within_two_units(cuda.moment1, cpu.moment1, "moment");
        expect_within_two_units(cuda.moment2, cpu.moment2, "second moment");
        expect_within_two_units(cuda.ema, cpu.ema, "average");
        EXPECT_NE(cuda.values, before);
        // Padding and frozen parameters keep their bits.
        std::vector<bool> trained(before.size());
        for (const ParameterSegment& s : cuda.parameters)
            if (!s.frozen) std::fill_n(trained.begin() + s.offset, s.elements, true);
        for (std::size_t k = 0; k < before.size(); ++k) {
            if (trained[k]) continue;
            ASSERT_EQ(cuda.values[k], before[k]) << k;
        }
    }
}

TEST(CudaCheckGradients, finds_the_cpus_norm_and_the_first_bad_by_number_not_by_place) {
    ManyParameters cuda, cpu;
    cuda.find_norm(emulated_machine());
    cpu.find_norm(cpu_machine(2));
    EXPECT_NEAR(cuda.check.norm / cpu.check.norm, 1, 1e-14);
    EXPECT_EQ(cuda.check.first_bad, -1);
    for (const std::size_t bad : {61u, 30u, 44u, 199u}) {  // the last element of each
        const ParameterSegment& s = cuda.parameters[bad];
        cuda.gradients[static_cast<std::size_t>(s.offset + s.elements - 1)] = infinity;
        cpu.gradients = cuda.gradients;
        cuda.find_norm(emulated_machine());
        cpu.find_norm(cpu_machine(2));
        EXPECT_EQ(cuda.check.first_bad, bad == 61 ? 61 : 30);
        EXPECT_EQ(cuda.check.first_bad, cpu.check.first_bad);
        EXPECT_FALSE(cuda.check.finite || cuda.check.apply);
    }
}

TEST(CudaCheckGradients, does_not_see_padding) {
    ManyParameters step;
    step.find_norm(emulated_machine());
    const double norm = step.check.norm;
    for (const ParameterSegment& s : step.parameters)
        for (std::int64_t i = s.offset + s.elements; i % 128 != 0; ++i)
            step.gradients[static_cast<std::size_t>(i)] = infinity;
    step.find_norm(emulated_machine());
    EXPECT_EQ(step.check.norm, norm);
    EXPECT_TRUE(step.check.apply);
}

TEST(CudaUpdate, gives_equal_bits_in_any_order_of_blocks) {
    for (const OptimizerOptions& optimizer : {optimizers[2], optimizers[4], optimizers[5]}) {
        ManyParameters first;
        first.find_norm(emulated_machine());
        first.update(optimizer, emulated_machine());
        for (const std::uint64_t seed : {0u, 2u, 3u}) {
            emulated::set_schedule_seed(seed);
            ManyParameters again;
            again.find_norm(emulated_machine());
            again.update(optimizer, emulated_machine());
            EXPECT_EQ(again.check.norm, first.check.norm);
            EXPECT_EQ(again.ratios, first.ratios);
            EXPECT_EQ(again.values, first.values);
        }
        emulated::set_schedule_seed(1);
    }
}

TEST(CudaUpdateParameters, widens_16_bit_gradients_and_writes_16_bit_copies) {
    for (const DType type : half_types)
        for (const OptimizerOptions& optimizer : optimizers) {
            Step full, halves;
            for (Step* step : {&full, &halves}) {
                step->check = {1, 0.5, 1, 1, -1};
                step->desc.optimizer = optimizer;
            }
            const Halves gradients = halve_gradients(full, type);
            full.run_update();

            halves.desc.parameters[0].half = halves.desc.parameters[0].half_gradient = true;
            halves.desc.parameters[1].half = halves.desc.parameters[1].half_gradient = true;  // frozen
            halves.desc.parameters[2].half = true;
            std::fill_n(halves.gradients.begin(), 256, infinity);  // not read there
            std::copy(full.gradients.begin() + 384, full.gradients.end(), halves.gradients.begin() + 384);
            const std::uint16_t untouched = 0x1234;
            Halves copies(Step::n, untouched), ema_copies = copies;
            const TensorDesc flat{Step::n}, half({Step::n}, Layout::plain, type);
            std::vector<TensorDesc> out = {flat, flat};
            std::vector<void*> outputs = {halves.parameters.data(), halves.moment1.data()};
            if (has_second_moment(optimizer.kind)) {
                out.push_back(flat);
                outputs.push_back(halves.moment2.data());
            }
            out.push_back(half);
            outputs.push_back(copies.data());
            if (optimizer.ema_decay > 0) {
                out.insert(out.end(), {flat, half});
                outputs.insert(outputs.end(), {halves.ema.data(), ema_copies.data()});
            }
            Halves sixteen_bits = gradients;
            std::vector<TensorDesc> in = {flat, half, bytes_of<GradientCheck>(), bytes_of<StepControl>()};
            std::vector<void*> inputs = {halves.gradients.data(), sixteen_bits.data(), &halves.check,
                                         &halves.control};
            if (has_trust_ratio(optimizer.kind)) {
                std::vector<TensorDesc> measured = in;
                std::vector<void*> places = inputs;
                const std::size_t own = has_second_moment(optimizer.kind) ? 3 : 1;
                measured.insert(measured.end(), own, flat);
                places.insert(places.end(), outputs.begin(),
                              outputs.begin() + static_cast<std::ptrdiff_t>(own));
                halves.ratios.assign(3, 1.0f);
                halves.run(OpKind::trust_ratio, measured, {{3}}, places, {halves.ratios.data()});
                EXPECT_EQ(halves.ratios[0], full.ratios[0]);
                in.push_back({3});
                inputs.push_back(halves.ratios.data());
            }
            halves.run(OpKind::update_parameters, in, out, inputs, outputs);
            EXPECT_EQ(halves.parameters, full.parameters);
            EXPECT_EQ(halves.moment1, full.moment1);
            EXPECT_EQ(halves.moment2, full.moment2);
            EXPECT_EQ(halves.ema, full.ema);
            for (std::size_t k = 0; k < copies.size(); ++k) {
                const bool kept = k < 200 || k >= 384;
                ASSERT_EQ(copies[k], kept ? half_of(type, halves.parameters[k]) : untouched) << k;
                ASSERT_EQ(ema_copies[k],
                          kept && optimizer.ema_decay > 0 ? half_of(type, halves.ema[k]) : untouched)
                    << k;
            }
        }
}

TEST(CudaCheckGradients, reads_16_bit_gradients_and_takes_the_loss_scale_out) {
    for (const DType type : half_types) {
        Step full, halves;
        Halves gradients = halve_gradients(full, type);
        full.desc.optimizer.clip_norm = halves.desc.optimizer.clip_norm = 2;
        full.run_check();

        halves.desc.parameters[0].half_gradient = true;
        halves.gradients = full.gradients;
        std::fill_n(halves.gradients.begin(), 256, infinity);  // not read there
        const TensorDesc flat{Step::n}, half({Step::n}, Layout::plain, type);
        const auto run = [&] {
            halves.run(OpKind::check_gradients,
                       {flat, half, bytes_of<BatchResult>(), bytes_of<StepControl>()},
                       {bytes_of<GradientCheck>()},
                       {halves.gradients.data(), gradients.data(), &halves.result, &halves.control},
                       {&halves.check});
        };
        run();
        EXPECT_EQ(halves.check.norm, full.check.norm);
        EXPECT_EQ(halves.check.scale, full.check.scale);

        // The same gradients computed times 8 have the same norm; the factor takes the 8 out.
        for (std::uint16_t& bits : gradients) bits = half_of(type, 8 * value_of(type, bits));
        for (float& g : halves.gradients) g *= 8;
        halves.control.loss_scale = 8;
        halves.desc.loss_scale = true;
        run();
        EXPECT_NEAR(halves.check.norm / full.check.norm, 1, 1e-15);
        EXPECT_NEAR(halves.check.scale * 8 / full.check.scale, 1, 1e-15);
        EXPECT_TRUE(halves.check.apply);

        gradients[199] = half_of(type, infinity);
        run();
        EXPECT_EQ(halves.check.first_bad, 0);
        EXPECT_FALSE(halves.check.apply);
    }
}

TEST(CudaAccumulateGradients, leaves_the_mean_of_16_bit_gradients) {
    for (const DType type : half_types) {
        Step step;
        step.desc.accumulation = 2;
        step.desc.parameters[0].half_gradient = true;
        Halves halves(Step::n);
        const TensorDesc flat{Step::n}, half({Step::n}, Layout::plain, type);
        for (step.desc.micro = 0; step.desc.micro < 2; ++step.desc.micro) {
            for (std::size_t k = 0; k < halves.size(); ++k) {
                halves[k] = half_of(type, static_cast<float>(k % 7) + static_cast<float>(step.desc.micro));
                step.gradients[k] = k < 256 ? infinity : static_cast<float>(k % 5);
            }
            std::vector<TensorDesc> out = {flat};
            std::vector<void*> outputs = {step.sum.data()};
            if (step.desc.micro == 1) {
                out.push_back(flat);
                outputs.push_back(step.gradients.data());
            }
            step.run(OpKind::accumulate_gradients, {flat, half}, out, {step.gradients.data(), halves.data()},
                     outputs);
        }
        for (std::size_t k = 0; k < 200; ++k) {
            ASSERT_EQ(step.sum[k], static_cast<float>(2 * (k % 7) + 1));
            ASSERT_EQ(step.gradients[k], static_cast<float>(k % 7) + 0.5f);
        }
        for (std::size_t k = 384; k < 1024; ++k) ASSERT_EQ(step.gradients[k], static_cast<float>(k % 5));
    }
}

// --- the loss scale ---

Step scaled_step(float scale) {
    Step step;
    step.desc.loss_scale = true;
    step.control.loss_scale = scale;
    return step;
}

TEST(CudaCommitStep, halves_the_loss_scale_and_repeats_the_update_when_a_gradient_overflows) {
    Step step = scaled_step(1024);
    step.control.good_steps = 7;
    step.check = {1, 1, 0, 0, 2};
    step.run_commit();
    EXPECT_EQ(step.control.loss_scale, 512);
    EXPECT_EQ(step.control.good_steps, 0);
    EXPECT_EQ(step.control.update, 0);
    EXPECT_EQ(step.control.stop, 0);
}

TEST(CudaCommitStep, forgets_the_micro_batches_of_a_step_that_overflowed) {
    Step step = scaled_step(1024);
    step.desc.accumulation = 2;
    step.control.sums.loss_sum = step.control.sums.weight = 3;
    step.control.sums.count = step.control.sums.correct = step.control.sums.correct5 = 3;
    step.check = {1, 1, 0, 0, 2};
    step.run_commit();
    EXPECT_EQ(step.control.sums.loss_sum, 0);
    EXPECT_EQ(step.control.sums.weight, 0);
    EXPECT_EQ(step.control.sums.count + step.control.sums.correct + step.control.sums.correct5, 0);
}

TEST(CudaCommitStep, has_diverged_when_the_smallest_scale_overflows_or_the_loss_is_not_finite) {
    Step step = scaled_step(smallest_loss_scale);
    step.check = {1, 1, 0, 0, 2};
    step.run_commit();
    EXPECT_EQ(step.control.stop, stop_not_finite);
    EXPECT_EQ(step.control.first_bad, 2);
    EXPECT_EQ(step.control.loss_scale, smallest_loss_scale);
    step = scaled_step(1024);
    step.check = {1, 1, 0, 0, -2};
    step.run_commit();
    EXPECT_EQ(step.control.stop, stop_not_finite);
    EXPECT_EQ(step.control.first_bad, -2);
    EXPECT_EQ(step.control.loss_scale, 1024);
}

TEST(CudaCommitStep, doubles_the_loss_scale_after_many_good_steps_up_to_the_largest) {
    Step step = scaled_step(1024);
    step.check = {1, 1, 1, 1, -1};
    step.control.good_steps = good_steps_to_grow - 2;
    step.run_commit();
    EXPECT_EQ(step.control.loss_scale, 1024);
    step.run_commit();
    EXPECT_EQ(step.control.loss_scale, 2048);
    EXPECT_EQ(step.control.good_steps, 0);
    EXPECT_EQ(step.control.update, 2);
    step.control.loss_scale = largest_loss_scale;
    step.control.good_steps = good_steps_to_grow - 1;
    step.run_commit();
    EXPECT_EQ(step.control.loss_scale, largest_loss_scale);
}

TEST(CudaCommitStep, leaves_the_loss_scale_of_a_finished_or_stopped_run_alone) {
    Step step = scaled_step(1024);
    step.check = {1, 1, 0, 0, 2};
    step.control.update = step.control.last_update;
    step.run_commit();
    step.control.update = 0;
    step.control.stop = stop_blow_up;
    step.run_commit();
    EXPECT_EQ(step.control.loss_scale, 1024);
}

// --- the schedule on the device ---

// One cycle in which beta1 goes 0.95, 0.85, 0.95. At every step the ring holds the closed form, and
// Adam's first weight moves by its formula in double.
TEST(CudaUpdate, follows_one_cycle_of_ten_thousand_steps_to_a_unit_in_the_last_place) {
    constexpr std::int64_t steps = 10000, rise = 2500;
    const double pi = std::acos(-1.0);
    const auto between = [&](double a, double b, double q) {
        return a + (b - a) * (1 - std::cos(pi * q)) / 2;
    };
    Step step;
    step.desc.optimizer = {.kind = OptimizerKind::adam, .weight_decay = 0};
    step.desc.parameters = {{.offset = 0, .elements = 5}};
    step.gradients.resize(128);
    step.parameters.resize(128);
    step.moment1.resize(128);
    step.moment2.resize(128);
    step.control.schedule = {steps,
                             2,
                             {{0, rise, 4e-5, 1e-3, 0.95, 0.85, Curve::cosine, Curve::cosine},
                              {rise, steps, 1e-3, 1e-8, 0.85, 0.95, Curve::cosine, Curve::cosine}}};
    step.control.last_update = steps;
    step.check = {1, 1, 1, 1, -1};
    const TensorDesc flat{128};
    OpDesc update = step.desc;
    update.kind = OpKind::update_parameters;
    update.inputs = {flat, bytes_of<GradientCheck>(), bytes_of<StepControl>()};
    update.outputs = {flat, flat, flat};
    for (std::int64_t k = 0; k < steps; ++k) {
        const bool rising = k < rise;
        const double q = rising ? static_cast<double>(k) / rise
                                : static_cast<double>(k - rise) / static_cast<double>(steps - rise);
        const double lr = rising ? between(4e-5, 1e-3, q) : between(1e-3, 1e-8, q);
        const double beta1 = rising ? between(0.95, 0.85, q) : between(0.85, 0.95, q);
        if (k % 50 == 0) {
            const double t = static_cast<double>(k + 1), g = 0.25, m = 0.5, v = 0.75, w = 1e-3;
            step.gradients[0] = 0.25f;
            step.moment1[0] = 0.5f;
            step.moment2[0] = 0.75f;
            step.parameters[0] = 1e-3f;
            ASSERT_TRUE(run_in_place(update, {step.gradients.data(), &step.check, &step.control},
                                     {step.parameters.data(), step.moment1.data(), step.moment2.data()},
                                     *step.machine));
            const double first = m + (1 - beta1) * (g - m), second = 0.99 * v + 0.01 * g * g;
            const double moved =
                lr / (1 - std::pow(beta1, t)) * first / (std::sqrt(second / (1 - std::pow(0.99, t))) + 1e-5);
            ASSERT_NEAR(static_cast<double>(step.moment1[0]) / first, 1, 2e-7) << k;
            ASSERT_NEAR(static_cast<double>(step.parameters[0]), w - moved, 3e-7 * std::max(w, moved)) << k;
        }
        step.run_commit();
        const RingEntry& entry = step.progress.ring[k % ring_size];
        ASSERT_EQ(entry.update, k);
        const auto lr32 = static_cast<float>(lr), beta32 = static_cast<float>(beta1);
        const auto got_lr = static_cast<float>(entry.learning_rate),
                   got_beta = static_cast<float>(entry.momentum);
        ASSERT_LE(std::abs(got_lr - lr32), std::nextafter(lr32, 1.0f) - lr32) << k;
        ASSERT_LE(std::abs(got_beta - beta32), std::nextafter(beta32, 1.0f) - beta32) << k;
    }
    EXPECT_EQ(step.control.update, steps);
}

// --- the rest ---

TEST(CudaUpdateStatistics, takes_more_batch_norms_than_one_launch_holds) {
    constexpr std::size_t norms = 131;
    std::vector<std::vector<float>> found(2 * norms);
    GradientCheck check{1, 1, 1, 1, -1};
    OpDesc d{.kind = OpKind::update_statistics, .inputs = {bytes_of<GradientCheck>()}};
    std::vector<void*> inputs = {&check};
    std::int64_t at = 0;
    for (std::size_t k = 0; k < norms; ++k) {
        const std::int64_t channels = k == 3 ? 1000 : 1 + static_cast<std::int64_t>(k % 9);
        d.statistics.push_back({.offset = at, .channels = channels, .samples = k == 0 ? 1 : 10});
        at += 2 * channels;
        for (std::size_t i : {2 * k, 2 * k + 1}) {
            found[i].assign(static_cast<std::size_t>(channels), static_cast<float>(i));
            d.inputs.push_back({channels});
            inputs.push_back(found[i].data());
        }
    }
    std::vector<float> cuda(static_cast<std::size_t>(at), 1.0f), cpu = cuda;
    d.outputs = {{at}};
    EXPECT_TRUE(run_in_place(d, inputs, {cuda.data()}, emulated_machine()));
    EXPECT_TRUE(run_in_place(d, inputs, {cpu.data()}, cpu_machine(1)));
    for (std::size_t k = 0; k < cuda.size(); ++k) ASSERT_FLOAT_EQ(cuda[k], cpu[k]) << k;
    EXPECT_NE(cuda.back(), 1);
}

TEST(CudaUpdate, refuses_buffers_that_do_not_fit) {
    const Machine machine = emulated_machine();
    Step step;
    OpDesc d = step.desc;
    d.kind = OpKind::update_parameters;
    d.inputs = {{Step::n}, bytes_of<GradientCheck>(), bytes_of<StepControl>()};
    d.outputs = {{Step::n}, {Step::n}};
    EXPECT_NO_THROW(machine.backend->make(d));
    const auto expect_refused = [&](const OpDesc& bad) { EXPECT_THROW(machine.backend->make(bad), Error); };
    OpDesc bad = d;
    bad.parameters[2].elements = 641;  // outside
    expect_refused(bad);
    bad = d;
    bad.parameters[0].half = true;  // and no buffer for the copy
    expect_refused(bad);
    bad = d;
    bad.outputs.push_back({Step::n});  // 32-bit halves
    expect_refused(bad);
    bad = d;
    bad.parameters.assign(513, {.offset = 0, .elements = 1});
    expect_refused(bad);
}

TEST(CpuUpdate, refuses_what_it_does_not_have) {
    const Machine machine = cpu_machine(1);
    Step step;
    const TensorDesc flat{Step::n}, half({Step::n}, Layout::plain, DType::bf16);
    const TensorDesc check = bytes_of<GradientCheck>(), control = bytes_of<StepControl>(),
                     result = bytes_of<BatchResult>();
    const auto expect_refused = [&](OpKind kind, std::vector<TensorDesc> in, std::vector<TensorDesc> out,
                                    bool loss_scale) {
        OpDesc d = step.desc;
        d.kind = kind;
        d.inputs = std::move(in);
        d.outputs = std::move(out);
        d.loss_scale = loss_scale;
        d.accumulation = 2;
        EXPECT_THROW(machine.backend->make(d), Error) << name_of(kind);
    };
    expect_refused(OpKind::update_parameters, {flat, half, check, control}, {flat, flat}, false);
    expect_refused(OpKind::update_parameters, {flat, check, control}, {flat, flat, half}, false);
    expect_refused(OpKind::check_gradients, {flat, half, result, control}, {check}, false);
    expect_refused(OpKind::check_gradients, {flat, result, control}, {check}, true);
    expect_refused(OpKind::accumulate_gradients, {flat, half}, {flat}, false);
    expect_refused(OpKind::commit_step, {result, check}, {control, bytes_of<StepProgress>()}, true);
    const TensorDesc labels({3}, Layout::plain, DType::i32), count({1}, Layout::plain, DType::i32);
    expect_refused(OpKind::softmax_cross_entropy, {{3, 5}, labels, count, control}, {result}, true);
}

}  // namespace

}  // namespace onecycle::testing
