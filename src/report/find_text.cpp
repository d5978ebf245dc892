// What a range test says in words.
#include <fmt/format.h>

#include <cmath>

#include "onecycle/report.h"
#include "report/text.h"

namespace onecycle {

namespace {

using Origin = FindContext::Origin;

std::string usual_for_it(const FindContext& context) {
    return context.origin == Origin::saved ? "which the file calls usual"
                                           : "usual for such a network, batch size and optimizer";
}

// " (--max-lr 0.017, what auto takes)"
std::string as_option(double rate, const FindContext& context) {
    const char* who = context.origin == Origin::training ? ", what auto takes" : "";
    return fmt::format(" (--max-lr {}{})", rate, who);
}

// How the rate was mixed, where both had a say.
std::string mixture(const RangeTestAnalysis& a, const FindContext& context) {
    if (!a.usual_lr) return "It comes from the curve alone.";
    const std::string curve = short_number(*a.curve_lr), usual = short_number(*a.usual_lr);
    if (curve == usual)
        return fmt::format(
            "The curve alone says {}, and the same is {}.", curve,
            context.origin == Origin::saved ? "called usual in the file" : usual_for_it(context));
    return fmt::format(
        "It lies between {}, which the curve says alone and which counts for {} %, and {}, {}.", curve,
        std::lround(100 * a.curve_weight), usual, usual_for_it(context));
}

std::string capital(std::string text) {
    if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
    return text;
}

}  // namespace

bool shorter_than_test(const FindContext& context) {
    return context.updates > 0 && context.updates < FindOptions{}.steps;
}

std::optional<double> rate_to_train_with(const RangeTestAnalysis& a, const FindContext& context) {
    if (context.origin == Origin::stage) return std::nullopt;
    return a.auto_lr ? a.auto_lr : a.usual_lr;
}

std::string find_sentence(const RangeTestAnalysis& a, const FindContext& context) {
    if (context.origin == Origin::stage)
        return a.edge ? fmt::format(
                            "Only the edge counts here: the loss leaves from {}, and the stage trains with a "
                            "tenth of "
                            "that at most.",
                            short_number(*a.edge))
                      : "Only the edge counts here, and there is none: the stage keeps its rate.";
    const std::optional<double> rate = rate_to_train_with(a, context);
    if (rate && shorter_than_test(context) && a.usual_lr)
        return fmt::format(
            "Train with one cycle up to {}{}: it is {}. A training of {} steps is shorter than its range "
            "test of {}, so "
            "train runs none.",
            *rate, as_option(*rate, context), usual_for_it(context), context.updates, FindOptions{}.steps);
    if (a.suggestion)
        return fmt::format("Train with one cycle up to {}{}.", *rate, as_option(*rate, context));
    const std::string reason = capital(a.reason) + ".";
    if (!rate) return reason;
    const char* takes = context.origin == Origin::training ? "train takes" : "there remains";
    return fmt::format("{} So {} {} (--max-lr {}), {}.", reason, takes, *rate, *rate, usual_for_it(context));
}

std::vector<std::string> find_reasons(const RangeTestAnalysis& a, const FindContext& context) {
    if (!a.suggestion || context.origin == Origin::stage) return {};
    std::vector<std::string> lines;
    const double rate = *rate_to_train_with(a, context);
    if (a.curve_weight > 0) lines.push_back(mixture(a, context));
    const Suggestion& s = *a.suggestion;
    lines.push_back(fmt::format(
        "The loss falls fastest at {} ({} to {} nearly as fast): there learning sets in. At {} it is lowest: "
        "there it has stopped falling, for the steps overshoot.",
        short_number(s.lr), short_number(s.low), short_number(s.high), short_number(*a.lowest)));
    if (rate > *a.lowest)
        lines.push_back("One cycle can go past that point, for it is at its maximum only for a short time.");
    return lines;
}

}  // namespace onecycle
