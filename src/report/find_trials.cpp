// What short trainings with several rates say.
#include <fmt/format.h>

#include <cmath>

#include "onecycle/report.h"
#include "report/text.h"
#include "schedule/rounding.h"

namespace onecycle {

namespace {

// By more than the noise of both evaluations.
bool clearly_better(const RateTrial& a, const RateTrial& b) {
    if (!a.accuracy) return false;
    if (!b.accuracy) return true;
    return *a.accuracy - *b.accuracy >
           std::hypot(*a.accuracy - a.interval.low, b.interval.high - *b.accuracy);
}

std::string percent(double share) {
    return fmt::format("{:.1f} %", 100 * share);
}

}  // namespace

std::vector<double> trial_rates(double lr) {
    return {two_digits(lr / 3), lr, two_digits(lr * 3)};
}

TrialVerdict judge_trials(double lr, const std::vector<RateTrial>& trials) {
    const RateTrial* own = nullptr;
    for (const RateTrial& trial : trials)
        if (trial.lr == lr) own = &trial;
    if (!own) return {};
    const RateTrial* best = nullptr;
    for (const RateTrial& trial : trials)
        if (clearly_better(trial, *own) && (!best || *trial.accuracy > *best->accuracy)) best = &trial;
    TrialVerdict verdict;
    if (best) {
        verdict.better = best->lr;
        verdict.advice = own->accuracy ? fmt::format(
                                             "{} does better than {} by more than {} images leave to chance: "
                                             "train with --max-lr {}.",
                                             best->lr, lr, best->n, best->lr)
                                       : fmt::format("{} diverges and {} does not: train with --max-lr {}.",
                                                     lr, best->lr, best->lr);
    } else if (own->accuracy) {
        verdict.advice = fmt::format(
            "{} holds: no other rate does better by more than {} images leave to chance. Train with --max-lr "
            "{}.",
            lr, own->n, lr);
    } else {
        verdict.advice = fmt::format("All of them diverge: look at the images, and try --max-lr {} or lower.",
                                     two_digits(trials.front().lr / 10));
    }
    return verdict;
}

std::string trial_table(double lr, const std::vector<RateTrial>& trials) {
    const auto row = [](const std::string& mark, const std::string& rate, const std::string& loss,
                        const std::string& accuracy, const std::string& range) {
        std::string line = pad_left(mark, 2) + pad_left(rate, 10) + pad_left(loss, 12) +
                           pad_left(accuracy, 10) + "  " + range;
        line.erase(line.find_last_not_of(' ') + 1);
        return line + "\n";
    };
    std::string out = row("", "rate", "valid loss", "accuracy", "95 %");
    for (const RateTrial& t : trials)
        out += row(t.lr == lr ? "★" : "", short_number(t.lr),
                   t.accuracy ? fmt::format("{:.4f}", *t.valid_loss) : "diverged",
                   t.accuracy ? percent(*t.accuracy) : "–",
                   t.accuracy ? percent(t.interval.low) + " to " + percent(t.interval.high) : "");
    return out + judge_trials(lr, trials).advice + "\n";
}

}  // namespace onecycle
