// What a sweep of range tests says in words.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "onecycle/report.h"
#include "report/text.h"

namespace onecycle {

namespace {

// The highest rate before the curve turns up.
double reach(const RangeTestAnalysis& a) {
    return a.edge ? *a.edge : a.lr.back();
}

// Whether two curves can be told apart: somewhere their smoothed losses at the same rate differ by
// more than the noise. They are compared as far as both descend, for where the loss leaves is
// partly chance; but where one turns up clearly earlier, up to there.
bool differ(const RangeTestAnalysis& a, const RangeTestAnalysis& b) {
    constexpr double clearly_earlier = 1.8;  // a quarter of a decade
    if (a.lr.empty() || b.lr.empty()) return a.lr.empty() != b.lr.empty();
    const double first = std::min(reach(a), reach(b)), second = std::max(reach(a), reach(b));
    const auto descends_to = [](const RangeTestAnalysis& c) { return c.suggestion ? *c.lowest : reach(c); };
    const double end = second > clearly_earlier * first ? first : std::min(descends_to(a), descends_to(b));
    const double noise = std::max(a.resolution, b.resolution);
    for (std::size_t i = 0; i < std::min(a.lr.size(), b.lr.size()) && a.lr[i] <= end; ++i)
        if (std::abs(a.smoothed[i] - b.smoothed[i]) > noise) return true;
    return false;
}

std::string or_dash(const std::optional<double>& value) {
    return value ? short_number(*value) : "–";
}

// Which of the answers differ by more than chance from the first one's; empty where the advice says
// it already.
std::string supported_by_noise(const std::vector<SweepResult>& results, const SweepVerdict& verdict) {
    std::vector<std::string> apart, alike;
    for (std::size_t i = 1; i < results.size(); ++i)
        (verdict.like_first[i] ? alike : apart).push_back(short_number(results[i].value, 6));
    if (!verdict.visible_difference) return "";
    const std::string first = short_number(results.front().value, 6);
    if (alike.empty()) return fmt::format("All others differ from {} by more than the noise.", first);
    if (apart.empty())
        return fmt::format(
            "None differs from {} by more than the noise, but some of the others do from each other.", first);
    return fmt::format("By more than the noise {} {} from {}; {} {} not: other rates there are chance.",
                       fmt::join(apart, ", "), apart.size() == 1 ? "differs" : "differ", first,
                       fmt::join(alike, ", "), alike.size() == 1 ? "does" : "do");
}

}  // namespace

SweepVerdict judge_sweep(SweepParameter parameter, const std::vector<SweepResult>& results) {
    SweepVerdict verdict;
    const auto curve = [&](std::size_t i) -> const RangeTestAnalysis& { return results[i].test.analysis; };
    double best_reach = 0, best_loss = 0;
    int descending = 0;
    for (std::size_t i = 0; i < results.size(); ++i) {
        verdict.like_first.push_back(!differ(curve(0), curve(i)));
        for (std::size_t j = 0; j < i; ++j) verdict.visible_difference |= differ(curve(i), curve(j));
        if (!curve(i).suggestion) continue;
        best_reach = std::max(best_reach, reach(curve(i)));
        best_loss = descending++ == 0 ? curve(i).lowest_loss : std::min(best_loss, curve(i).lowest_loss);
    }
    const std::string name = to_string(parameter);
    if (descending == 0) {
        verdict.advice = "No curve has a clear descent, so nothing can be said about " + name + ".";
        return verdict;
    }
    if (!verdict.visible_difference) {
        verdict.advice = fmt::format(
            "There is no visible difference: the curves differ by less than the noise. "
            "Keep the {} you have.",
            name);
        return verdict;
    }
    const bool decay = parameter == SweepParameter::weight_decay;
    for (std::size_t i = 0; i < results.size(); ++i) {
        const RangeTestAnalysis& a = curve(i);
        const bool high_rate = a.suggestion && reach(a) >= best_reach / 2;
        const bool low_loss = a.lowest_loss <= best_loss + a.resolution;
        if (!high_rate || (decay && !low_loss)) continue;
        const auto better = [&](const SweepResult& than) {
            return decay ? results[i].value > than.value : a.lowest_loss < than.test.analysis.lowest_loss;
        };
        if (verdict.best < 0 || better(results[static_cast<std::size_t>(verdict.best)]))
            verdict.best = static_cast<int>(i);
    }
    if (verdict.best < 0) {
        verdict.advice =
            fmt::format("No {} gives both a high rate and a low loss; try values in between.", name);
        return verdict;
    }
    verdict.advice = fmt::format(
        "Use --{} {}: {}.", name, short_number(results[static_cast<std::size_t>(verdict.best)].value, 6),
        decay ? "the largest decay that still allows a high learning rate (Smith 2018)"
              : "its loss falls lowest among the values that allow a high learning rate");
    return verdict;
}

std::string sweep_table(SweepParameter parameter, const std::vector<SweepResult>& results) {
    const SweepVerdict verdict = judge_sweep(parameter, results);
    const auto row = [](const std::string& value, const std::string& rate, const std::string& steepest,
                        const std::string& range, const std::string& lowest, const std::string& edge,
                        const std::string& note) {
        std::string line = pad_left(value, 12) + "  " + pad_left(rate, 8) + "  " + pad_left(steepest, 8) +
                           "  " + pad_right(range, 18) + pad_left(lowest, 8) + "  " + pad_left(edge, 8) +
                           "  " + note;
        line.erase(line.find_last_not_of(' ') + 1);
        return line + "\n";
    };
    std::string out = row(to_string(parameter), "auto", "steepest", "nearly as steep", "loss", "edge", "");
    for (std::size_t i = 0; i < results.size(); ++i) {
        const RangeTestAnalysis& a = results[i].test.analysis;
        const auto& s = a.suggestion;
        const bool best = static_cast<int>(i) == verdict.best;
        const char* like = i > 0 && verdict.like_first[i] ? "no visible difference" : "";
        out += row(short_number(results[i].value, 6), or_dash(a.auto_lr), s ? short_number(s->lr) : "–",
                   s ? short_number(s->low) + " to " + short_number(s->high) : "no clear descent",
                   fmt::format("{:.3f}", a.lowest_loss), or_dash(a.edge), best ? "◀ use this" : like);
    }
    const std::string noise = supported_by_noise(results, verdict);
    return out + (noise.empty() ? "" : noise + "\n") + verdict.advice + "\n";
}

}  // namespace onecycle
