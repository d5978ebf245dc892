// Schedules against PyTorch and fastai run for real (tests/reference/generate_schedules.py),
// against the worked examples of Smith's logs and of known training records, and in the degenerate
// cases.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <type_traits>

#include "onecycle/error.h"
#include "onecycle/policy.h"

namespace onecycle {
namespace {

static_assert(std::is_trivially_copyable_v<Schedule>);
static_assert(sizeof(Schedule) <= 4096, "a CUDA kernel takes 4 KiB of arguments");

// All that a schedule follows from.
struct Planned : PolicyOptions {
    ScheduleLength length;
    double max_lr = 0;
};

Planned options(const std::string& policy, std::int64_t epochs, std::int64_t steps_per_epoch, double max_lr) {
    Planned o{{}, {epochs, steps_per_epoch}, max_lr};
    o.policy = policy;
    return o;
}

Schedule make_schedule(const Planned& o) {
    return onecycle::make_schedule(o, o.length, o.max_lr);
}

std::vector<double> rates(const Schedule& schedule) {
    std::vector<double> lr;
    for (std::int64_t k = 0; k < schedule.steps; ++k) lr.push_back(evaluate(schedule, k).lr);
    return lr;
}

void expect_near(const std::vector<double>& got, const std::vector<double>& want, double relative) {
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < want.size(); ++i)
        EXPECT_NEAR(got[i], want[i], relative * std::abs(want[i]) + 1e-300) << "at step " << i;
}

std::string usage_message(const Planned& o) {
    try {
        make_schedule(o);
    } catch (const Error& error) {
        EXPECT_EQ(error.exit_code(), 2);
        return error.what();
    }
    ADD_FAILURE() << o.policy << " was accepted";
    return "";
}

TEST(Schedule, equals_pytorch_and_fastai_run_for_real) {
    std::ifstream file(ONECYCLE_TEST_DATA "/schedules.json");
    const auto cases = nlohmann::json::parse(file);
    ASSERT_GE(cases.size(), 30u);
    for (const auto& c : cases) {
        SCOPED_TRACE(c.at("policy").dump() + c.at("options").dump());
        const auto& given = c.at("options");
        Planned o =
            options(c.at("policy"), given.at("epochs"), given.at("steps_per_epoch"), given.at("max_lr"));
        if (given.contains("pct_start")) o.pct_start = given["pct_start"];
        if (given.contains("div")) o.div = given["div"];
        if (given.contains("final_div")) o.final_div = given["final_div"];
        if (given.contains("low")) o.momentum = MomentumRange{given["low"], given["high"]};
        if (given.contains("anneal")) o.anneal = parse_anneal(given["anneal"]);
        o.three_phase = given.value("three_phase", false);
        const Schedule schedule = make_schedule(o);
        ASSERT_EQ(schedule.steps, static_cast<std::int64_t>(c.at("lr").size()));
        const double tolerance = c.at("tolerance");
        for (std::int64_t k = 0; k < schedule.steps; ++k) {
            const ScheduleValue value = evaluate(schedule, k);
            const double lr = c["lr"][k], momentum = c["momentum"][k];
            // Absolute part: PyTorch's recursive CosineAnnealingLR, and fastai's float32, near
            // zero.
            EXPECT_NEAR(value.lr, lr, tolerance * std::abs(lr) + 1e-3 * tolerance * o.max_lr) << k;
            EXPECT_NEAR(value.momentum, momentum, tolerance * momentum) << k;
        }
    }
}

TEST(Schedule, our_cycle_ends_exactly_at_the_floor_and_starts_exactly_at_max_over_div) {
    const Schedule s = make_schedule(options("onecycle", 7, 13, 0.37));
    EXPECT_EQ(evaluate(s, 0).lr, 0.37 / 25);
    EXPECT_EQ(evaluate(s, 0).momentum, 0.95);
    EXPECT_EQ(evaluate(s, 90).lr, 0.37 / 25 / 1e4);
    EXPECT_EQ(evaluate(s, 90).momentum, 0.95);
    EXPECT_EQ(evaluate(s, 91).lr, evaluate(s, 90).lr) << "a later step holds the floor";
}

TEST(Schedule, our_cycle_is_a_cosine_of_k_over_n_minus_1_with_momentum_mirrored) {
    const Schedule s = make_schedule(options("onecycle", 1, 101, 1.0));
    const auto cosine = [](double a, double b, double q) {
        return a + (b - a) * (1 - std::cos(M_PI * q)) / 2;
    };
    for (std::int64_t k = 0; k <= 100; ++k) {
        const double p = static_cast<double>(k) / 100;
        const double up = p / 0.25, down = (p - 0.25) / 0.75;
        EXPECT_NEAR(evaluate(s, k).lr, p < 0.25 ? cosine(0.04, 1, up) : cosine(1, 4e-6, down), 1e-14);
        EXPECT_NEAR(evaluate(s, k).momentum, p < 0.25 ? cosine(0.95, 0.85, up) : cosine(0.85, 0.95, down),
                    1e-14);
    }
    EXPECT_EQ(evaluate(s, 25).lr, 1.0);
    EXPECT_EQ(evaluate(s, 25).momentum, 0.85);
}

TEST(Schedule, smiths_cycle_gives_the_rates_of_his_logs) {
    // hyperParam1: wide-resnet, base .1, max 1, stepsize 2246; ImageNet's momentum with stepsize
    // 95000.
    Planned o = options("onecycle:smith", 1, 5000, 1.0);
    o.pct_start = 2246.0 / 5000;
    Schedule s = make_schedule(o);
    EXPECT_NEAR(evaluate(s, 1200).lr, .580855, 5e-7);
    EXPECT_NEAR(evaluate(s, 2400).lr, .931434, 5e-7);
    EXPECT_NEAR(evaluate(s, 4400).lr, .0409617, 5e-8);
    EXPECT_DOUBLE_EQ(evaluate(s, 4600).lr, 1e-4) << "held at a thousandth of the base rate";
    // resnet, base .08 (Caffe computes this in float), max .8, stepsize 4003
    o = options("onecycle:smith", 1, 10000, 0.8);
    o.pct_start = 4003.0 / 10000;
    s = make_schedule(o);
    EXPECT_NEAR(evaluate(s, 4800).lr, .640719, 5e-7);
    EXPECT_NEAR(evaluate(s, 8000).lr, .00119905, 1e-7);
    EXPECT_DOUBLE_EQ(evaluate(s, 9000).lr, 8e-5);
    o = options("onecycle:smith", 1, 200000, 1.0);
    o.pct_start = 95000.0 / 200000;
    s = make_schedule(o);
    EXPECT_NEAR(evaluate(s, 30000).momentum, .918421, 5e-7);
    EXPECT_NEAR(evaluate(s, 119500).momentum, .875789, 5e-7);
}

TEST(Schedule, knots_give_the_rates_of_known_training_records) {
    const auto at = [](const char* policy, std::int64_t epochs, std::int64_t per_epoch, double lr,
                       double epoch) {
        return evaluate(make_schedule(options(policy, epochs, per_epoch, lr)),
                        std::llround(epoch * static_cast<double>(per_epoch)))
            .lr;
    };
    EXPECT_NEAR(at("knots:0=0,5=1,24=0", 24, 10, .4, 1), .08, 1e-12);  // Page's CIFAR-10
    EXPECT_NEAR(at("knots:0=0,5=1,24=0", 24, 10, .4, 5), .4, 1e-12);
    EXPECT_NEAR(at("knots:0=0,5=1,24=0", 24, 10, .4, 12), .252632, 5e-7);
    EXPECT_NEAR(at("knots:0=0,5=1,24=0", 24, 10, .4, 23.5), .010526, 5e-7);
    const char* airbench = "knots:0=0.2,0.23=1,1=0.07";
    EXPECT_NEAR(at(airbench, 1, 100, 1, .22), .965217, 5e-7);
    EXPECT_NEAR(at(airbench, 1, 100, 1, .50), .673896, 5e-7);
    EXPECT_NEAR(at(airbench, 1, 100, 1, .99), .082078, 5e-7);
    const Schedule late = make_schedule(options("knots:2=1,3=0.5", 5, 4, 1));
    EXPECT_EQ(evaluate(late, 0).lr, 1) << "the first knot is held before it";
    EXPECT_EQ(evaluate(late, 19).lr, 0.5) << "the last knot is held behind it";
}

TEST(Schedule, an_epoch_that_ends_with_an_update_is_not_missed_by_rounding) {
    const Schedule s = make_schedule(options("steps:1.1", 2, 10, 1));  // 1.1 * 10 > 11
    EXPECT_EQ(evaluate(s, 10).lr, 1);
    EXPECT_EQ(evaluate(s, 11).lr, 0.1);
    EXPECT_EQ(evaluate(make_schedule(options("restarts:1.1", 3, 10, 1)), 11).lr, 1);
}

TEST(Schedule, restarts_double_in_length_as_in_the_sgdr_paper) {
    expect_near(rates(make_schedule(options("restarts:1,2", 7, 2, 1))),
                {1, .5, 1, .853553391, .5, .146446609, 1, .961939766, .853553391, .691341716, .5, .308658284,
                 .146446609, .038060234},
                1e-7);
}

TEST(Schedule, range_test_ramps_are_the_inclusive_one_and_fastais) {
    const std::vector<double> inclusive = {1e-5,       3.59381e-5, 1.29155e-4, 4.64159e-4, 1.6681e-3,
                                           5.99484e-3, 2.15443e-2, 7.74264e-2, 0.278256,   1};
    const std::vector<double> fastai = {1e-5,       3.16228e-5, 1e-4,       3.16228e-4, 1e-3,
                                        3.16228e-3, 1e-2,       3.16228e-2, 0.1,        0.316228};
    RampOptions o{.start_lr = 1e-5, .end_lr = 1, .steps = 10};
    expect_near(rates(make_range_test_schedule(o)), inclusive, 3e-6);
    o.ramp = Ramp::fastai;
    expect_near(rates(make_range_test_schedule(o)), fastai, 3e-6);
    const Schedule s = make_range_test_schedule({});
    EXPECT_EQ(evaluate(s, 0).lr, 1e-7);
    EXPECT_NEAR(evaluate(s, 1).lr, 1.20450354e-7, 1e-15);
    EXPECT_NEAR(evaluate(s, 50).lr, 1.09749877e-3, 1e-11);
    EXPECT_NEAR(evaluate(s, 98).lr, 8.30217568, 1e-8);
    EXPECT_EQ(evaluate(s, 99).lr, 10) << "the end asked for is the end used";
    EXPECT_EQ(evaluate(s, 50).momentum, 0.85);
}

TEST(Schedule, degenerate_cycles_stay_finite_and_between_floor_and_maximum) {
    for (const char* policy :
         {"onecycle", "onecycle:fastai", "onecycle:pytorch", "onecycle:smith", "flat-cos"})
        for (const std::int64_t steps : {1, 2, 3, 4, 10})
            for (const double pct : {0.0, 0.25, 0.5, 1.0}) {
                Planned o = options(policy, 1, steps, 0.1);
                o.pct_start = pct;
                if (o.policy == "onecycle:smith" && pct > 0.5) continue;
                for (const double lr : rates(make_schedule(o))) {
                    EXPECT_GE(lr, 0.0) << policy << " N " << steps << " pct " << pct;
                    EXPECT_LE(lr, 0.1) << policy << " N " << steps << " pct " << pct;
                }
            }
    EXPECT_EQ(evaluate(make_schedule(options("onecycle", 1, 1, 0.1)), 0).lr, 0.1 / 25);
    Planned o = options("onecycle", 1, 10, 0.1);
    o.pct_start = 0;
    EXPECT_EQ(evaluate(make_schedule(o), 0).lr, 0.1) << "no warm-up: the first update is at the peak";
    o.pct_start = 1;
    EXPECT_EQ(evaluate(make_schedule(o), 9).lr, 0.1) << "no descent: the last update is at the peak";
    o = options("onecycle:pytorch", 1, 4, 0.1);
    o.pct_start = 0.25;  // PyTorch divides by zero here
    EXPECT_EQ(evaluate(make_schedule(o), 0).lr, 0.1);
}

TEST(Schedule, momentum_is_low_at_the_peak_of_a_cycle_and_held_high_elsewhere) {
    Planned o = options("cosine", 1, 10, 0.1);
    EXPECT_EQ(evaluate(make_schedule(o), 5).momentum, 0.9);
    o.momentum = parse_momentum("0.8:0.97");
    EXPECT_EQ(evaluate(make_schedule(o), 5).momentum, 0.97);
    EXPECT_EQ(momentum_at_peak(o), 0.97);
    o.policy = "onecycle";
    EXPECT_EQ(momentum_at_peak(o), 0.8);
    o.momentum = parse_momentum("0.9");
    for (std::int64_t k = 0; k < 10; ++k) EXPECT_EQ(evaluate(make_schedule(o), k).momentum, 0.9);
}

TEST(Schedule, plan_reads_back_to_the_last_bit) {
    const Schedule s = make_schedule(options("onecycle:fastai", 1, 20, 0.01));
    std::istringstream csv(plan_csv(s));
    std::string line;
    std::getline(csv, line);
    EXPECT_EQ(line, "step,lr,momentum");
    for (std::int64_t k = 0; k < 20; ++k) {
        ASSERT_TRUE(std::getline(csv, line));
        std::int64_t step = -1;
        double lr = 0, momentum = 0;
        ASSERT_EQ(std::sscanf(line.c_str(), "%ld,%lf,%lf", &step, &lr, &momentum), 3);
        EXPECT_EQ(step, k);
        EXPECT_EQ(lr, evaluate(s, k).lr);
        EXPECT_EQ(momentum, evaluate(s, k).momentum);
    }
    EXPECT_FALSE(std::getline(csv, line));
}

TEST(Schedule, wrong_options_are_refused_by_name_with_the_allowed_form) {
    for (const char* policy : {"",           "one-cycle",  "onecycle:",      "onecycle:x",
                               "cosine:1",   "steps",      "steps:",         "steps:5,3",
                               "steps:0",    "steps:5@0",  "steps:5@1@2",    "steps:5,",
                               "steps:nan",  "restarts:0", "restarts:1,0.5", "restarts:1,2,3",
                               "knots:",     "knots:1",    "knots:0=1,0=2",  "knots:0=-1",
                               "knots:-1=1", "knots:0=1x"}) {
        const std::string message = usage_message(options(policy, 4, 5, 0.1));
        EXPECT_NE(message.find(std::string("--policy ") + policy), std::string::npos) << message;
        EXPECT_NE(message.find("; fix: "), std::string::npos) << message;
    }
    EXPECT_NE(usage_message(options("restarts:1", 65, 5, 0.1)).find("64 pieces"), std::string::npos);
    EXPECT_NE(usage_message(options("onecycle", 0, 5, 0.1)).find("--epochs"), std::string::npos);
    EXPECT_NE(usage_message(options("onecycle", 1, -5, 0.1)).find("--steps-per-epoch"), std::string::npos);
    EXPECT_NE(usage_message(options("onecycle", INT64_MAX, 5, 0.1)).find("--epochs"), std::string::npos);
    for (const double lr : {0.0, -1.0, double(INFINITY), double(NAN)})
        EXPECT_NE(usage_message(options("onecycle", 1, 5, lr)).find("--max-lr"), std::string::npos);
    Planned o = options("cosine", 1, 5, 0.1);
    o.pct_start = 0.3;
    EXPECT_NE(usage_message(o).find("--pct-start"), std::string::npos);
    o.policy = "onecycle";
    o.three_phase = true;
    EXPECT_NE(usage_message(o).find("--three-phase"), std::string::npos);
    o.three_phase = false;
    o.pct_start = 1.5;
    EXPECT_NE(usage_message(o).find("--pct-start 1.5"), std::string::npos);
    o.pct_start = {};
    o.max_lr = 1e300;
    o.div = 1e-300;
    EXPECT_NE(usage_message(o).find("--div 1e-300"), std::string::npos);
    o.div = 1;
    o.final_div = 1e-300;
    EXPECT_NE(usage_message(o).find("--final-div 1e-300"), std::string::npos);
    o = options("onecycle:smith", 1, 5, 0.1);
    o.pct_start = 0.6;
    EXPECT_NE(usage_message(o).find("--pct-start 0.6"), std::string::npos);
    for (const char* text : {"", ":", "0.9:", "0.95:0.85", "1", "-0.1", "0.8:0.9:0.95", "x", "nan"})
        EXPECT_THROW(parse_momentum(text), Error) << text;
    EXPECT_THROW(parse_anneal("sine"), Error);
    EXPECT_THROW(parse_ramp(""), Error);
    EXPECT_THROW(make_range_test_schedule({.start_lr = 0}), Error);
    EXPECT_THROW(make_range_test_schedule({.start_lr = 1, .end_lr = 1}), Error);
    EXPECT_THROW(make_range_test_schedule({.steps = 1}), Error);
}

}  // namespace
}  // namespace onecycle
