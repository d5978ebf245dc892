// The operations that end a step: they act on flat buffers and plain structs. What every back end
// promises: this source is linked once for each.
#include <cmath>

#include "ops/update_step.h"

namespace onecycle::testing {

namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

constexpr OptimizerKind every_optimizer[] = {OptimizerKind::sgd, OptimizerKind::adam, OptimizerKind::adamw,
                                             OptimizerKind::lars, OptimizerKind::lamb};

double norm_of_trained(const Step& step) {
    double sum = 0;
    for (const ParameterSegment& s : step.desc.parameters)
        for (std::int64_t i = s.offset; !s.frozen && i < s.offset + s.elements; ++i)
            sum += std::pow(static_cast<double>(step.gradients[static_cast<std::size_t>(i)]), 2);
    return std::sqrt(sum);
}

TEST(CheckGradients, finds_the_norm_of_what_is_trained) {
    Step step;
    step.gradients[300] = 1e30f;  // of the frozen parameter
    step.run_check();
    EXPECT_NEAR(step.check.norm, norm_of_trained(step), 1e-12);
    EXPECT_EQ(step.check.scale, 1);
    EXPECT_EQ(step.check.first_bad, -1);
    EXPECT_TRUE(step.check.finite && step.check.apply);
    step.gradients[300] = nan;
    step.run_check();
    EXPECT_TRUE(step.check.apply);
}

TEST(CheckGradients, gives_equal_bits_for_any_number_of_threads) {
    Step step;
    step.machine = machine_under_test(1);
    step.run_check();
    const double one = step.check.norm;
    for (int threads : {2, 4, 8}) {
        step.machine = machine_under_test(threads);
        step.run_check();
        EXPECT_EQ(step.check.norm, one);
    }
}

TEST(CheckGradients, does_not_overflow_on_the_largest_floats) {
    Step step;
    step.gradients.assign(step.gradients.size(), std::numeric_limits<float>::max());
    step.run_check();
    EXPECT_TRUE(step.check.finite);
    EXPECT_NEAR(step.check.norm / norm_of_trained(step), 1, 1e-12);
}

TEST(CheckGradients, clips_as_pytorch_does) {
    Step step;
    step.desc.optimizer.clip_norm = 2;
    step.run_check();
    EXPECT_NEAR(step.check.scale, 2 / (norm_of_trained(step) + 1e-6), 1e-12);
    step.desc.optimizer.clip_norm = 1000;
    step.run_check();
    EXPECT_EQ(step.check.scale, 1);
}

TEST(CheckGradients, names_the_first_bad_parameter_or_the_loss) {
    for (const float bad : {nan, infinity, -infinity}) {
        Step step;
        step.gradients[1000] = bad;
        step.run_check();
        EXPECT_EQ(step.check.first_bad, 2);
        EXPECT_FALSE(step.check.finite || step.check.apply);
        step.gradients[199] = bad;
        step.run_check();
        EXPECT_EQ(step.check.first_bad, 0);
        step.result.loss = static_cast<double>(bad);
        step.run_check();
        EXPECT_EQ(step.check.first_bad, -2);
    }
}

TEST(CheckGradients, lets_no_step_pass_when_stopped_or_after_the_last_update) {
    Step step;
    step.control.update = step.control.last_update;
    step.run_check();
    EXPECT_TRUE(step.check.finite && !step.check.apply);
    step.control.update = 0;
    step.control.stop = stop_blow_up;
    step.run_check();
    EXPECT_TRUE(step.check.finite && !step.check.apply);
}

TEST(UpdateParameters, follows_the_schedule_the_multipliers_and_the_scale) {
    Step step;
    step.desc.optimizer = {.weight_decay = 0.01};
    step.check = {1, 0.5, 1, 1, -1};
    step.control.update = 3;
    const std::vector<float> before = step.parameters;
    step.moment1.assign(step.moment1.size(), 0.25f);
    step.run_update();
    const double lr = 0.1 + 0.1 * 0.3, momentum = 0.95 - 0.1 * 0.3;
    for (const ParameterSegment& s : step.desc.parameters)
        for (std::int64_t i = s.offset; i < s.offset + s.elements; ++i) {
            const auto k = static_cast<std::size_t>(i);
            const double w = static_cast<double>(before[k]);
            const double g = 0.5 * static_cast<double>(step.gradients[k]) +
                             0.01 * static_cast<double>(s.decay_multiplier) * w;
            const double m = momentum * 0.25 + g;
            const double expected = s.frozen ? w : w - lr * s.lr_multiplier * m;
            ASSERT_NEAR(static_cast<double>(step.parameters[k]), expected, 1e-7) << i;
        }
    for (const std::size_t padding : {200u, 383u}) {  // stays as it was
        EXPECT_EQ(step.parameters[padding], 0);
        EXPECT_EQ(step.moment1[padding], 0.25f);
    }
}

TEST(UpdateParameters, changes_nothing_unless_the_step_applies) {
    for (const OptimizerKind kind : every_optimizer) {
        Step step;
        step.desc.optimizer.kind = kind;
        step.check = {1, 1, 0, 1, -1};
        const Step before = step;
        step.run_update();
        EXPECT_EQ(step.parameters, before.parameters);
        EXPECT_EQ(step.moment1, before.moment1);
        EXPECT_EQ(step.moment2, before.moment2);
    }
}

// The definition, in double: of LARS at any update, of LAMB at its first, where Adam's step is the
// gradient over its own size.
TEST(TrustRatio, is_of_each_tensors_two_norms) {
    for (const OptimizerKind kind : {OptimizerKind::lars, OptimizerKind::lamb}) {
        Step step;
        step.desc.optimizer = {.kind = kind, .weight_decay = 0.25};
        step.check = {1, 0.5, 1, 1, -1};
        step.desc.parameters[2].decay_multiplier = 2;
        step.run_ratios();
        for (const std::size_t p : {0u, 2u}) {
            const ParameterSegment& s = step.desc.parameters[p];
            const double decay = 0.25 * static_cast<double>(s.decay_multiplier);
            double weights = 0, direction = 0;
            for (std::int64_t i = s.offset; i < s.offset + s.elements; ++i) {
                const double w = static_cast<double>(step.parameters[static_cast<std::size_t>(i)]);
                const double g = 0.5 * static_cast<double>(step.gradients[static_cast<std::size_t>(i)]);
                weights += w * w;
                direction +=
                    std::pow(kind == OptimizerKind::lars ? g : g / (std::abs(g) + 1e-5) + decay * w, 2);
            }
            const double w = std::sqrt(weights), u = std::sqrt(direction);
            const double expected = kind == OptimizerKind::lars ? 0.001 * w / (u + decay * w + 1e-8) : w / u;
            EXPECT_NEAR(static_cast<double>(step.ratios[p]) / expected, 1, 1e-6) << p;
        }
    }
}

TEST(TrustRatio, is_one_for_norms_and_biases_for_zeros_and_unless_the_step_applies) {
    for (const OptimizerKind kind : {OptimizerKind::lars, OptimizerKind::lamb}) {
        Step step;
        step.desc.optimizer = {.kind = kind, .weight_decay = 0};
        step.check = {1, 1, 1, 1, -1};
        step.run_ratios();
        EXPECT_NE(step.ratios[0], 1.0f) << "without decay weights are adapted, too";
        EXPECT_EQ(step.ratios[2], 1.0f) << "never decays";
        const Step before = step;
        std::fill_n(step.parameters.begin(), 200, 0.0f);
        step.run_ratios();
        EXPECT_EQ(step.ratios[0], 1.0f);
        step = before;
        std::fill_n(step.gradients.begin(), 200, 0.0f);
        step.run_ratios();
        EXPECT_EQ(step.ratios[0], 1.0f);
        step = before;
        step.check.apply = 0;
        step.gradients[7] = nan;
        step.run_ratios();
        EXPECT_EQ(step.ratios[0], 1.0f);
        EXPECT_EQ(step.ratios[2], 1.0f);
    }
}

TEST(TrustRatio, has_equal_bits_for_any_number_of_threads_and_sees_no_padding) {
    for (const OptimizerKind kind : {OptimizerKind::lars, OptimizerKind::lamb}) {
        Step step;
        step.desc.optimizer.kind = kind;
        step.check = {1, 1, 1, 1, -1};
        step.desc.parameters[2].decay_multiplier = 1;
        step.run_ratios();
        const std::vector<float> once = step.ratios;
        for (std::size_t i = 200; i < 256; ++i) step.parameters[i] = step.gradients[i] = infinity;
        for (int threads : {1, 3, 8}) {
            step.machine = machine_under_test(threads);
            step.run_ratios();
            EXPECT_EQ(step.ratios[0], once[0]);
            EXPECT_EQ(step.ratios[2], once[2]);
        }
    }
}

TEST(AccumulateGradients, leaves_the_mean_of_the_micro_batches) {
    Step step;
    step.desc.accumulation = 3;
    const TensorDesc flat{Step::n};
    for (step.desc.micro = 0; step.desc.micro < 3; ++step.desc.micro) {
        for (std::size_t k = 0; k < step.gradients.size(); ++k)
            step.gradients[k] = static_cast<float>(k % 7) + static_cast<float>(3 * step.desc.micro);
        std::vector<TensorDesc> out = {flat};
        std::vector<void*> outputs = {step.sum.data()};
        if (step.desc.micro == 2) {
            out.push_back(flat);
            outputs.push_back(step.gradients.data());
        }
        step.run(OpKind::accumulate_gradients, {flat}, out, {step.gradients.data()}, outputs);
    }
    for (std::size_t k = 0; k < step.gradients.size(); ++k) {
        ASSERT_EQ(step.sum[k], static_cast<float>(3 * (k % 7) + 9));
        ASSERT_EQ(step.gradients[k], static_cast<float>(k % 7 + 3));
    }
}

TEST(UpdateStatistics, is_unbiased_and_waits_for_the_check) {
    Step step;
    step.desc.statistics = {{.offset = 4, .channels = 2, .samples = 5}};
    std::vector<float> mean = {1, -2}, variance = {4, 8}, statistics(12, 3.0f);
    const auto run = [&] {
        step.run(OpKind::update_statistics, {bytes_of<GradientCheck>(), {2}, {2}}, {{12}},
                 {&step.check, mean.data(), variance.data()}, {statistics.data()});
    };
    const std::vector<float> before = statistics;
    run();
    EXPECT_EQ(statistics, before);
    step.check.apply = 1;
    run();
    const double expected[] = {0.9 * 3 + 0.1 * 1, 0.9 * 3 - 0.1 * 2, 0.9 * 3 + 0.1 * 4 * 5 / 4,
                               0.9 * 3 + 0.1 * 8 * 5 / 4};
    for (std::size_t k = 0; k < 12; ++k)
        EXPECT_NEAR(static_cast<double>(statistics[k]), k >= 4 && k < 8 ? expected[k - 4] : 3.0, 1e-6);
}

// In double precision, from the weights of the same update without an average.
TEST(UpdateParameters, moves_the_ema_of_what_it_trains_and_waits_for_the_check) {
    for (const OptimizerKind kind : every_optimizer) {
        Step plain, step;
        for (Step* s : {&plain, &step}) {
            s->desc.optimizer.kind = kind;
            s->check.scale = 1;
        }
        step.desc.optimizer.ema_decay = 0.9;
        step.run_update();
        EXPECT_EQ(step.ema, std::vector<float>(Step::n, 8.0f)) << "refused";
        std::vector<double> expected(Step::n, 8.0);
        for (int k = 0; k < 10; ++k) {
            plain.check.apply = step.check.apply = 1;
            plain.control.update = step.control.update = k;
            plain.run_update();
            step.run_update();
            ASSERT_EQ(step.parameters, plain.parameters) << k;
            for (const ParameterSegment& s : step.desc.parameters)
                for (std::int64_t i = s.offset; i < s.offset + s.elements && !s.frozen; ++i) {
                    double& ema = expected[static_cast<std::size_t>(i)];
                    ema =
                        0.9 * ema + 0.1 * static_cast<double>(plain.parameters[static_cast<std::size_t>(i)]);
                }
        }
        for (std::size_t i = 0; i < expected.size(); ++i)
            ASSERT_NEAR(static_cast<double>(step.ema[i]), expected[i], 1e-5) << i;
        EXPECT_EQ(step.ema[300], 8.0f) << "frozen";
        EXPECT_EQ(step.ema[250], 8.0f) << "padding";
    }
}

TEST(UpdateStatistics, moves_their_ema_and_waits_for_the_check) {
    Step step;
    step.desc.statistics = {{.offset = 2, .channels = 3, .samples = 5}};
    step.desc.momentum = 0.5;
    step.desc.optimizer.ema_decay = 0.75;
    std::vector<float> mean = {1, 2, 3}, variance = {4, 8, 12}, statistics(9, 0.0f), ema(9, 8.0f);
    const auto run = [&] {
        step.run(OpKind::update_statistics, {bytes_of<GradientCheck>(), {3}, {3}}, {{9}, {9}},
                 {&step.check, mean.data(), variance.data()}, {statistics.data(), ema.data()});
    };
    run();
    EXPECT_EQ(ema, std::vector<float>(9, 8.0f));
    step.check.apply = 1;
    run();
    // A quarter of the way from 8 to 0.5 times what the batch found, the variance times 5/4.
    EXPECT_EQ(ema, (std::vector<float>{8, 8, 6.125f, 6.25f, 6.375f, 6.625f, 7.25f, 7.875f, 8}));
}

TEST(CommitStep, records_the_step_and_counts_it) {
    Step step;
    step.check = {3, 1, 1, 1, -1};
    step.control.update = 4;
    step.control.sums.loss_sum = 100;  // of an evaluation: not of this step
    step.run_commit();
    EXPECT_EQ(step.control.update, 5);
    EXPECT_EQ(step.control.stop, 0);
    const RingEntry& entry = step.progress.ring[4];
    EXPECT_EQ(entry.update, 4);
    EXPECT_EQ(entry.loss, 2.5);
    EXPECT_DOUBLE_EQ(entry.learning_rate, 0.14);
    EXPECT_DOUBLE_EQ(entry.momentum, 0.91);
    EXPECT_EQ(entry.gradient_norm, 3);
}

TEST(CommitStep, wraps_around_in_the_ring) {
    Step step;
    step.check = {3, 1, 1, 1, -1};
    step.control.update = ring_size + 2;
    step.control.last_update = 1000;
    step.run_commit();
    EXPECT_EQ(step.progress.ring[2].update, ring_size + 2);
}

TEST(CommitStep, takes_the_mean_over_micro_batches_and_clears_the_sums) {
    Step step;
    step.desc.accumulation = 2;
    step.check = {3, 1, 1, 1, -1};
    step.result.count = 2;
    step.run(OpKind::add_metrics, {bytes_of<BatchResult>()}, {bytes_of<StepControl>()}, {&step.result},
             {&step.control});
    EXPECT_EQ(step.control.sums.loss_sum, 5);
    EXPECT_EQ(step.control.sums.count, 2);
    EXPECT_EQ(step.control.micro, 1);
    step.result.loss_sum = 9;
    step.result.weight = 5;
    step.run_commit();
    EXPECT_EQ(step.progress.ring[0].loss, 14.0 / 7);
    EXPECT_EQ(step.control.sums.loss_sum, 0);
    EXPECT_EQ(step.control.sums.weight, 0);
    EXPECT_EQ(step.control.sums.count, 0);
}

TEST(CommitStep, tells_the_host_of_every_launch_and_of_the_stop) {
    Step step;
    step.control.update = step.control.launches = 4;
    step.control.micro = 1;
    step.check = {3, 1, 1, 1, -1};
    step.run_commit();
    EXPECT_EQ(step.progress.launches, 5);
    EXPECT_EQ(step.progress.update, 5);
    EXPECT_EQ(step.progress.stop, 0);
    EXPECT_EQ(step.control.micro, 0);
    step.check = {1, 1, 0, 0, 2};
    step.run_commit();
    EXPECT_EQ(step.progress.launches, 6);
    EXPECT_EQ(step.progress.update, 5);
    EXPECT_EQ(step.progress.stop, stop_not_finite);
    EXPECT_EQ(step.progress.first_bad, 2);
    step.run_commit();
    EXPECT_EQ(step.progress.launches, 7) << "one that changes nothing is counted, too";
}

TEST(CommitStep, stops_a_range_test_after_the_loss_that_has_left_for_good) {
    Step step;
    step.check = {3, 1, 1, 1, -1};
    step.control.last_update = 1000;
    step.control.watch_blow_up = 1;
    BlowUpDetector detector;
    for (int k = 0; k < 60; ++k) {
        step.result.loss = k == 15 ? 90 : 2 + 0.1 * k * (k % 3);
        const bool left = detector.add(step.result.loss);
        step.run_commit();
        ASSERT_EQ(step.control.stop, left ? stop_blow_up : 0) << k;
        ASSERT_EQ(step.progress.update, k + 1) << "its own step counts";
        if (!left) continue;
        EXPECT_GT(k, 16) << "a single spike is noise";
        EXPECT_EQ(step.progress.stop, stop_blow_up);
        step.run_check();
        EXPECT_EQ(step.check.apply, 0);
        step.run_commit();
        EXPECT_EQ(step.progress.update, k + 1);
        return;
    }
    ADD_FAILURE() << "it never stopped";
}

TEST(CommitStep, stops_at_a_value_that_is_not_finite_and_keeps_the_counter) {
    Step step;
    step.check = {1, 1, 0, 0, 2};
    step.run_commit();
    EXPECT_EQ(step.control.update, 0);
    EXPECT_EQ(step.control.stop, stop_not_finite);
    EXPECT_EQ(step.control.first_bad, 2);
}

TEST(CommitStep, leaves_a_finished_or_stopped_run_alone) {
    Step step;
    step.check = {1, 1, 0, 0, 2};
    step.control.update = step.control.last_update;
    step.run_commit();
    EXPECT_EQ(step.control.stop, 0);
    step.control.update = 0;
    step.control.stop = stop_blow_up;
    step.run_commit();
    EXPECT_EQ(step.control.stop, stop_blow_up);
    EXPECT_EQ(step.control.update, 0);
}

}  // namespace

}  // namespace onecycle::testing
