#include "onecycle/policy.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <string_view>
#include <vector>

#include "onecycle/error.h"
#include "train/schedule_presets.h"

namespace onecycle {

namespace {

[[noreturn]] void refuse(const std::string& where, const std::string& why, const std::string& fix) {
    throw Error(ErrorKind::usage, "cannot make the schedule", where, why, fix);
}

void require(bool ok, const char* option, double value, const char* why, const char* fix) {
    if (!ok) refuse(fmt::format("{} {}", option, value), why, fix);
}

// A finite number that fills all of `text`.
std::optional<double> parse_number(std::string_view text) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value))
        return std::nullopt;
    return value;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    for (std::size_t from = 0;;) {
        const std::size_t to = text.find(separator, from);
        parts.push_back(text.substr(from, to - from));
        if (to == std::string_view::npos) return parts;
        from = to + 1;
    }
}

// The policies that take numbers behind a colon: reads them, or refuses with the form.
class Arguments {
  public:
    Arguments(const std::string& policy, std::string_view text, const char* form)
        : policy_(policy), text_(text), form_(form) {}

    std::string_view text() const { return text_; }

    double number(std::string_view text) const {
        const auto value = parse_number(text);
        if (!value) refuse(fmt::format("\"{}\" is not a number", text));
        return *value;
    }
    void check(bool ok, const char* why) const {
        if (!ok) refuse(why);
    }

  private:
    [[noreturn]] void refuse(const std::string& why) const {
        onecycle::refuse("--policy " + policy_, why, fmt::format("write it as {}", form_));
    }

    const std::string& policy_;
    std::string_view text_;
    const char* form_;
};

// A policy's own numbers. One that is empty here is not the policy's to take.
struct Defaults {
    std::optional<double> pct_start{}, div{}, final_div{};
    std::optional<Anneal> anneal{};
};

// Epoch `epoch` as a position in updates. What differs from a whole number by rounding only is one:
// 1.1 epochs of 10 updates are 11.
double position(double epoch, std::int64_t steps_per_epoch) {
    const double steps = epoch * static_cast<double>(steps_per_epoch), whole = std::round(steps);
    return std::abs(steps - whole) <= 1e-12 * whole ? whole : steps;
}

Defaults defaults_of(const std::string& policy) {
    if (policy == "onecycle") return {0.25, 25, 1e4, Anneal::cosine};
    if (policy == "onecycle:fastai") return {0.25, 25, 1e5, {}};
    if (policy == "onecycle:pytorch") return {0.3, 25, 1e4, Anneal::cosine};
    if (policy == "onecycle:smith") return {0.45, 10, 1e3, {}};
    if (policy == "flat-cos") return {0.75, {}, 1e5, {}};
    return {};
}

bool is_one_cycle(const std::string& policy) {
    return policy == "onecycle" || policy.rfind("onecycle:", 0) == 0;
}

void check_common(const PolicyOptions& o) {
    const auto count = [](const char* option, std::int64_t value) {
        require(value >= 1, option, static_cast<double>(value), "it must be 1 or more",
                "give a whole number from 1 up");
    };
    count("--epochs", o.epochs);
    count("--steps-per-epoch", o.steps_per_epoch);
    constexpr std::int64_t most_steps = 1'000'000'000'000;
    if (o.epochs > most_steps / o.steps_per_epoch)
        refuse("--epochs", fmt::format("more than {} updates in all", most_steps), "use fewer epochs");
    require(std::isfinite(o.max_lr) && o.max_lr > 0, "--max-lr", o.max_lr, "it must be a number above 0",
            "0.01 is a common start");
    if (o.pct_start)
        require(*o.pct_start >= 0 && *o.pct_start <= 1, "--pct-start", *o.pct_start,
                "it must be between 0 and 1", "0.25 is the default of onecycle");
    if (o.div)
        require(std::isfinite(*o.div) && *o.div > 0, "--div", *o.div, "it must be above 0",
                "25 is the default of onecycle");
    if (o.final_div)
        require(std::isfinite(*o.final_div) && *o.final_div > 0, "--final-div", *o.final_div,
                "it must be above 0", "1e4 is the default of onecycle");
}

// An option that the chosen policy would silently drop is refused instead.
void check_known(const PolicyOptions& o) {
    const Defaults known = defaults_of(o.policy);
    const auto check = [&](bool given, bool taken, const char* option, const char* owners) {
        if (given && !taken)
            refuse(option, "the policy " + o.policy + " has no such option",
                   fmt::format("leave it out, or use {}", owners));
    };
    check(o.pct_start.has_value(), known.pct_start.has_value(), "--pct-start", "onecycle or flat-cos");
    check(o.div.has_value(), known.div.has_value(), "--div", "onecycle");
    check(o.final_div.has_value(), known.final_div.has_value(), "--final-div", "onecycle or flat-cos");
    check(o.anneal.has_value(), known.anneal.has_value(), "--anneal", "onecycle or onecycle:pytorch");
    check(o.three_phase, o.policy == "onecycle:pytorch", "--three-phase", "onecycle:pytorch");
}

// `o` has its policy's numbers, here and below.
Schedule make_one_cycle(const PolicyOptions& o, std::int64_t steps, MomentumRange momentum) {
    const bool fastai = o.policy == "onecycle:fastai", pytorch = o.policy == "onecycle:pytorch";
    const bool smith = o.policy == "onecycle:smith";
    const double initial = o.max_lr / *o.div;
    require(std::isfinite(initial), "--div", *o.div, "the first rate would be infinite",
            "25 is the default of onecycle");
    const double floor = (fastai ? o.max_lr : initial) / *o.final_div;
    require(std::isfinite(floor), "--final-div", *o.final_div, "the last rate would be infinite",
            "1e4 is the default of onecycle");
    const bool line = smith || o.anneal == Anneal::linear;
    const OneCycleNumbers numbers{
        .steps = steps,
        .initial = initial,
        .max = o.max_lr,
        .floor = floor,
        .momentum = momentum,
        .pct_start = *o.pct_start,
        .curve = line ? Curve::linear : Curve::cosine,
    };
    if (fastai) return one_cycle_fastai(numbers);
    if (pytorch) return one_cycle_pytorch(numbers, o.three_phase);
    if (!smith) return one_cycle(numbers);
    require(numbers.pct_start <= 0.5, "--pct-start", numbers.pct_start,
            "onecycle:smith goes down for as long as it goes up", "use 0.5 or less");
    return one_cycle_smith(numbers);
}

Schedule make_steps(const PolicyOptions& o, std::int64_t steps, double momentum, const Arguments& args) {
    const auto parts = split(args.text(), '@');
    args.check(parts.size() <= 2, "it has more than one @");
    const double factor = parts.size() == 2 ? args.number(parts[1]) : 0.1;
    args.check(factor > 0, "the factor must be above 0");
    std::vector<double> at;
    for (const auto part : split(parts[0], ',')) {
        const double epoch = args.number(part);
        const double step = position(epoch, o.steps_per_epoch);
        args.check(step > (at.empty() ? 0 : at.back()), "the epochs must be above 0 and rise");
        at.push_back(step);
    }
    return step_decay(steps, o.max_lr, at, factor, momentum);
}

Schedule make_restarts(const PolicyOptions& o, std::int64_t steps, double momentum, const Arguments& args) {
    const auto parts = split(args.text(), ',');
    args.check(parts.size() <= 2, "it has more than two numbers");
    const double length = args.number(parts[0]);
    const double mult = parts.size() == 2 ? args.number(parts[1]) : 1;
    args.check(length > 0, "the length must be above 0");
    args.check(mult >= 1, "the factor must be 1 or more");
    return restarts(steps, o.max_lr, position(length, o.steps_per_epoch), mult, momentum);
}

Schedule make_knots(const PolicyOptions& o, std::int64_t steps, double momentum, const Arguments& args) {
    std::vector<std::pair<double, double>> points;
    for (const auto part : split(args.text(), ',')) {
        const auto sides = split(part, '=');
        args.check(sides.size() == 2, "each knot needs one =");
        const double step = position(args.number(sides[0]), o.steps_per_epoch);
        const double value = args.number(sides[1]);
        args.check(step >= 0 && (points.empty() || step > points.back().first),
                   "the epochs must rise from 0");
        args.check(value >= 0, "a value is below 0");
        points.emplace_back(step, value);
    }
    return knots(steps, o.max_lr, points, momentum);
}

}  // namespace

MomentumRange momentum_range(const PolicyOptions& o) {
    const MomentumRange m =
        o.momentum.value_or(is_one_cycle(o.policy) ? MomentumRange{0.85, 0.95} : MomentumRange{0.9, 0.9});
    if (!(m.low >= 0 && m.low <= m.high && m.high < 1))
        refuse(fmt::format("--momentum {}:{}", m.low, m.high), "it must hold 0 <= LOW <= HIGH < 1",
               "for example 0.85:0.95 or 0.9");
    return m;
}

PolicyOptions with_defaults(const PolicyOptions& options) {
    PolicyOptions o = options;
    const auto fill = [](auto& value, const auto& otherwise) {
        if (!value) value = otherwise;
    };
    const Defaults defaults = defaults_of(o.policy);
    fill(o.pct_start, defaults.pct_start);
    fill(o.div, defaults.div);
    fill(o.final_div, defaults.final_div);
    fill(o.anneal, defaults.anneal);
    o.momentum = momentum_range(o);
    return o;
}

Schedule make_schedule(const PolicyOptions& options) {
    const PolicyOptions o = with_defaults(options);
    check_common(o);
    const MomentumRange momentum = *o.momentum;
    const std::int64_t steps = o.epochs * o.steps_per_epoch;
    const double end = static_cast<double>(steps);
    const std::string& policy = o.policy;
    const std::size_t colon = policy.find(':');
    const std::string name = policy.substr(0, colon);
    const std::string_view behind =
        colon == std::string::npos ? std::string_view{} : std::string_view(policy).substr(colon + 1);

    const bool plain =
        policy == "flat-cos" || policy == "cosine" || policy == "linear" || policy == "constant";
    const bool cycle = policy == "onecycle" || policy == "onecycle:fastai" || policy == "onecycle:pytorch" ||
                       policy == "onecycle:smith";
    const bool listed = name == "steps" || name == "restarts" || name == "knots";
    if (!plain && !cycle && !listed)
        refuse("--policy " + policy, "there is no such policy",
               "use onecycle, onecycle:fastai, onecycle:pytorch, onecycle:smith, flat-cos, cosine, linear, "
               "constant, steps:.., restarts:.. or knots:..");
    check_known(o);

    if (cycle) return make_one_cycle(o, steps, momentum);
    if (policy == "flat-cos")
        return flat_cos(steps, o.max_lr, o.max_lr / *o.final_div, *o.pct_start, momentum.high);
    if (name == "steps")
        return make_steps(o, steps, momentum.high,
                          {policy, behind, "steps:EPOCH,EPOCH,..@FACTOR, such as steps:30,60,90@0.1"});
    if (name == "restarts")
        return make_restarts(o, steps, momentum.high,
                             {policy, behind, "restarts:EPOCHS,FACTOR, such as restarts:1,2"});
    if (name == "knots")
        return make_knots(o, steps, momentum.high,
                          {policy, behind, "knots:EPOCH=VALUE,.., such as knots:0=0,5=1,24=0"});

    ScheduleBuilder builder(steps);
    builder.add(0, end, policy == "cosine" ? Curve::cosine : Curve::linear, o.max_lr,
                policy == "constant" ? o.max_lr : 0, momentum.high);
    return builder.finish(o.max_lr, momentum.high);
}

double momentum_at_peak(const PolicyOptions& o) {
    const MomentumRange momentum = momentum_range(o);
    return is_one_cycle(o.policy) ? momentum.low : momentum.high;
}

MomentumRange parse_momentum(const std::string& text) {
    const auto parts = split(text, ':');
    const auto low = parse_number(parts.front()), high = parse_number(parts.back());
    if (parts.size() > 2 || !low || !high || !(*low >= 0 && *low <= *high && *high < 1))
        refuse("--momentum " + text, "it must be LOW:HIGH or one number, with 0 <= LOW <= HIGH < 1",
               "for example 0.85:0.95 or 0.9");
    return {*low, *high};
}

Anneal parse_anneal(const std::string& text) {
    if (text == "cos") return Anneal::cosine;
    if (text != "linear") refuse("--anneal " + text, "there is no such curve", "use cos or linear");
    return Anneal::linear;
}

Ramp parse_ramp(const std::string& text) {
    if (text == "inclusive") return Ramp::inclusive;
    if (text != "fastai") refuse("--ramp " + text, "there is no such ramp", "use inclusive or fastai");
    return Ramp::fastai;
}

Schedule make_range_test_schedule(const RampOptions& o) {
    require(std::isfinite(o.start_lr) && o.start_lr > 0, "--start-lr", o.start_lr,
            "it must be a number above 0", "1e-7 is the default");
    require(std::isfinite(o.end_lr) && o.end_lr > o.start_lr, "--end-lr", o.end_lr,
            "it must be above --start-lr", "10 is the default");
    require(o.steps >= 2, "--steps", static_cast<double>(o.steps), "a range test needs 2 or more",
            "100 is the default");
    const double end = static_cast<double>(o.ramp == Ramp::inclusive ? o.steps - 1 : o.steps);
    ScheduleBuilder builder(o.steps);
    builder.add(0, end, Curve::exponential, o.start_lr, o.end_lr, o.momentum);
    return builder.finish(o.start_lr, o.momentum);
}

std::string plan_csv(const Schedule& schedule) {
    fmt::memory_buffer out;
    fmt::format_to(std::back_inserter(out), "step,lr,momentum\n");
    for (std::int64_t step = 0; step < schedule.steps; ++step) {
        const ScheduleValue value = evaluate(schedule, step);
        fmt::format_to(std::back_inserter(out), "{},{},{}\n", step, value.lr, value.momentum);
    }
    return fmt::to_string(out);
}

}  // namespace onecycle
