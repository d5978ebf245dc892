#include "onecycle/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <string_view>
#include <vector>

#include "onecycle/error.h"
#include "schedule/presets.h"

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
    bool three_phase = false;  // takes --three-phase
};

// What a schedule is asked for.
struct Request {
    const PolicyOptions& policy;  // with its numbers
    ScheduleLength length;
    double max_lr;
    Arguments arguments;  // behind the policy's name

    std::int64_t steps() const { return length.epochs * length.steps_per_epoch; }
    double momentum() const { return policy.momentum->high; }  // of a policy that holds it
    // Epoch `epoch` as a position in updates. What differs from a whole number by rounding only is
    // one: 1.1 epochs of 10 updates are 11.
    double position(double epoch) const {
        const double at = epoch * static_cast<double>(length.steps_per_epoch), whole = std::round(at);
        return std::abs(at - whole) <= 1e-12 * whole ? whole : at;
    }
};

struct Policy {
    const char* name;
    Defaults defaults;
    bool cycles_momentum;        // down and up again, against the rate
    const char *form, *example;  // of what stands behind the name and a colon; null: nothing does
    Schedule (*make)(const Request& request);
};

// Of a one-cycle whose last rate is the first, or (`floor_of_max`) the highest, over --final-div.
OneCycleNumbers cycle(const Request& r, bool floor_of_max = false) {
    const PolicyOptions& o = r.policy;
    const double initial = r.max_lr / *o.div;
    require(std::isfinite(initial), "--div", *o.div, "the first rate would be infinite",
            "25 is the default of onecycle");
    const double floor = (floor_of_max ? r.max_lr : initial) / *o.final_div;
    require(std::isfinite(floor), "--final-div", *o.final_div, "the last rate would be infinite",
            "1e4 is the default of onecycle");
    return {
        .steps = r.steps(),
        .initial = initial,
        .max = r.max_lr,
        .floor = floor,
        .momentum = *o.momentum,
        .pct_start = *o.pct_start,
        .curve = o.anneal == Anneal::linear ? Curve::linear : Curve::cosine,
    };
}

Schedule make_smith(const Request& r) {
    OneCycleNumbers numbers = cycle(r);
    require(numbers.pct_start <= 0.5, "--pct-start", numbers.pct_start,
            "onecycle:smith goes down for as long as it goes up", "use 0.5 or less");
    numbers.curve = Curve::linear;
    return one_cycle_smith(numbers);
}

// From max_lr to `end` in one piece.
Schedule make_single(const Request& r, Curve curve, double end) {
    ScheduleBuilder builder(r.steps());
    builder.add(0, static_cast<double>(r.steps()), curve, r.max_lr, end, r.momentum());
    return builder.finish(r.max_lr, r.momentum());
}

Schedule make_steps(const Request& r) {
    const Arguments& args = r.arguments;
    const auto parts = split(args.text(), '@');
    args.check(parts.size() <= 2, "it has more than one @");
    const double factor = parts.size() == 2 ? args.number(parts[1]) : 0.1;
    args.check(factor > 0, "the factor must be above 0");
    std::vector<double> at;
    for (const auto part : split(parts[0], ',')) {
        const double step = r.position(args.number(part));
        args.check(step > (at.empty() ? 0 : at.back()), "the epochs must be above 0 and rise");
        at.push_back(step);
    }
    return step_decay(r.steps(), r.max_lr, at, factor, r.momentum());
}

Schedule make_restarts(const Request& r) {
    const Arguments& args = r.arguments;
    const auto parts = split(args.text(), ',');
    args.check(parts.size() <= 2, "it has more than two numbers");
    const double length = args.number(parts[0]);
    const double mult = parts.size() == 2 ? args.number(parts[1]) : 1;
    args.check(length > 0, "the length must be above 0");
    args.check(mult >= 1, "the factor must be 1 or more");
    return restarts(r.steps(), r.max_lr, r.position(length), mult, r.momentum());
}

Schedule make_knots(const Request& r) {
    const Arguments& args = r.arguments;
    std::vector<std::pair<double, double>> points;
    for (const auto part : split(args.text(), ',')) {
        const auto sides = split(part, '=');
        args.check(sides.size() == 2, "each knot needs one =");
        const double step = r.position(args.number(sides[0]));
        const double value = args.number(sides[1]);
        args.check(step >= 0 && (points.empty() || step > points.back().first),
                   "the epochs must rise from 0");
        args.check(value >= 0, "a value is below 0");
        points.emplace_back(step, value);
    }
    return knots(r.steps(), r.max_lr, points, r.momentum());
}

// Every policy, in the order in which they are named to the user. A new one is a row here, and its
// formula in presets.cpp.
const Policy policies[] = {
    {"onecycle",
     {0.25, 25, 1e4, Anneal::cosine},
     true,
     nullptr,
     nullptr,
     [](const Request& r) { return one_cycle(cycle(r)); }},
    {"onecycle:fastai",
     {0.25, 25, 1e5},
     true,
     nullptr,
     nullptr,
     [](const Request& r) { return one_cycle_fastai(cycle(r, true)); }},
    {"onecycle:pytorch",
     {0.3, 25, 1e4, Anneal::cosine, true},
     true,
     nullptr,
     nullptr,
     [](const Request& r) { return one_cycle_pytorch(cycle(r), r.policy.three_phase); }},
    {"onecycle:smith", {0.45, 10, 1e3}, true, nullptr, nullptr, make_smith},
    {"flat-cos",
     {0.75, {}, 1e5},
     false,
     nullptr,
     nullptr,
     [](const Request& r) {
         return flat_cos(r.steps(), r.max_lr, r.max_lr / *r.policy.final_div, *r.policy.pct_start,
                         r.momentum());
     }},
    {"cosine",
     {},
     false,
     nullptr,
     nullptr,
     [](const Request& r) { return make_single(r, Curve::cosine, 0); }},
    {"linear",
     {},
     false,
     nullptr,
     nullptr,
     [](const Request& r) { return make_single(r, Curve::linear, 0); }},
    {"constant",
     {},
     false,
     nullptr,
     nullptr,
     [](const Request& r) { return make_single(r, Curve::linear, r.max_lr); }},
    {"steps", {}, false, "EPOCH,EPOCH,..@FACTOR", "30,60,90@0.1", make_steps},
    {"restarts", {}, false, "EPOCHS,FACTOR", "1,2", make_restarts},
    {"knots", {}, false, "EPOCH=VALUE,..", "0=0,5=1,24=0", make_knots},
};

std::string full_form(const Policy& policy) {
    return policy.form ? fmt::format("{}:{}", policy.name, policy.form) : policy.name;
}

// "a, b or c": the policies that hold, each as `text` gives it.
template <class Holds, class Text>
std::string listed(Holds holds, Text text) {
    std::vector<std::string> names;
    for (const Policy& policy : policies)
        if (holds(policy)) names.push_back(text(policy));
    std::string list = names.back();
    names.pop_back();
    if (!names.empty()) list = fmt::format("{} or {}", fmt::join(names, ", "), list);
    return list;
}

const Policy& policy_of(const std::string& policy) {
    const std::string name = policy.substr(0, policy.find(':'));
    for (const Policy& row : policies)
        if ((row.form ? name : policy) == row.name) return row;
    refuse("--policy " + policy, "there is no such policy", "use " + policy_names());
}

void check_numbers(const PolicyOptions& o) {
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
void check_known(const PolicyOptions& o, const Policy& row) {
    const auto check = [&](bool given, const char* option, auto takes) {
        if (given && !takes(row.defaults))
            refuse(option, "the policy " + o.policy + " has no such option",
                   "leave it out, or use " + listed([&](const Policy& p) { return takes(p.defaults); },
                                                    [](const Policy& p) { return p.name; }));
    };
    check(o.pct_start.has_value(), "--pct-start", [](const Defaults& d) { return d.pct_start.has_value(); });
    check(o.div.has_value(), "--div", [](const Defaults& d) { return d.div.has_value(); });
    check(o.final_div.has_value(), "--final-div", [](const Defaults& d) { return d.final_div.has_value(); });
    check(o.anneal.has_value(), "--anneal", [](const Defaults& d) { return d.anneal.has_value(); });
    check(o.three_phase, "--three-phase", [](const Defaults& d) { return d.three_phase; });
}

void check_length(const ScheduleLength& length) {
    const auto count = [](const char* option, std::int64_t value) {
        require(value >= 1, option, static_cast<double>(value), "it must be 1 or more",
                "give a whole number from 1 up");
    };
    count("--epochs", length.epochs);
    count("--steps-per-epoch", length.steps_per_epoch);
    constexpr std::int64_t most_steps = 1'000'000'000'000;
    if (length.epochs > most_steps / length.steps_per_epoch)
        refuse("--epochs", fmt::format("more than {} updates in all", most_steps), "use fewer epochs");
}

}  // namespace

std::string policy_names() {
    return listed([](const Policy&) { return true; }, full_form);
}

MomentumRange momentum_range(const PolicyOptions& o) {
    const MomentumRange own =
        policy_of(o.policy).cycles_momentum ? MomentumRange{0.85, 0.95} : MomentumRange{0.9, 0.9};
    const MomentumRange m = o.momentum.value_or(own);
    if (!(m.low >= 0 && m.low <= m.high && m.high < 1))
        refuse(fmt::format("--momentum {}:{}", m.low, m.high), "it must hold 0 <= LOW <= HIGH < 1",
               "for example 0.85:0.95 or 0.9");
    return m;
}

PolicyOptions with_defaults(const PolicyOptions& policy) {
    PolicyOptions o = policy;
    const auto fill = [](auto& value, const auto& otherwise) {
        if (!value) value = otherwise;
    };
    const Defaults& defaults = policy_of(o.policy).defaults;
    fill(o.pct_start, defaults.pct_start);
    fill(o.div, defaults.div);
    fill(o.final_div, defaults.final_div);
    fill(o.anneal, defaults.anneal);
    o.momentum = momentum_range(o);
    return o;
}

Schedule make_schedule(const PolicyOptions& policy, const ScheduleLength& length, double max_lr) {
    const PolicyOptions o = with_defaults(policy);
    check_length(length);
    require(std::isfinite(max_lr) && max_lr > 0, "--max-lr", max_lr, "it must be a number above 0",
            "0.01 is a common start");
    check_numbers(o);
    const Policy& row = policy_of(o.policy);
    check_known(o, row);
    const std::size_t name = std::strlen(row.name);  // a colon follows where anything does
    const std::string form =
        row.form ? fmt::format("{}, such as {}:{}", full_form(row), row.name, row.example) : "";
    const std::string_view behind = std::string_view(o.policy).substr(std::min(name + 1, o.policy.size()));
    return row.make({o, length, max_lr, {o.policy, behind, form.c_str()}});
}

void check_policy(const PolicyOptions& policy, std::int64_t epochs, std::optional<double> max_lr) {
    // What is refused depends on neither, within their own ranges.
    constexpr std::int64_t some_steps = 100;
    constexpr double some_rate = 0.01;
    make_schedule(policy, {epochs, some_steps}, max_lr.value_or(some_rate));
}

double momentum_at_peak(const PolicyOptions& o) {
    const MomentumRange momentum = momentum_range(o);
    return policy_of(o.policy).cycles_momentum ? momentum.low : momentum.high;
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
