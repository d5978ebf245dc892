// What a range test is stored as: CSV and JSON.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>

#include "onecycle/error.h"
#include "onecycle/report.h"
#include "report/csv.h"
#include "train/log_rows.h"

namespace onecycle {

namespace {

using Json = nlohmann::ordered_json;

Json number(double value) {
    return std::isfinite(value) ? Json(value) : Json(nullptr);
}
Json number(const std::optional<double>& value) {
    return value ? number(*value) : Json(nullptr);
}

Json numbers(const std::vector<double>& values) {
    Json out = Json::array();
    for (const double value : values) out.push_back(number(value));
    return out;
}

// The members in find.json's order; `test` is null for a saved curve.
Json to_object(const RangeTestAnalysis& a, const RangeTestResult* test, const FindContext& context) {
    const std::optional<double> rate = rate_to_train_with(a, context);
    const bool prior = rate && a.curve_weight == 0;
    Json o;
    o["lr"] = numbers(a.lr);
    o["loss"] = numbers(a.loss);
    o["smoothed"] = numbers(a.smoothed);
    o["suggestion"] = nullptr;
    if (a.suggestion)
        o["suggestion"] = {{"rule", "steepest"},
                           {"lr", a.suggestion->lr},
                           {"low", a.suggestion->low},
                           {"high", a.suggestion->high}};
    else
        o["reason"] = a.reason;
    o["auto_lr"] = a.suggestion ? number(rate) : Json(nullptr);
    o["prior"] = prior ? number(rate) : Json(nullptr);
    o["curve_lr"] = number(a.curve_lr);
    o["curve_weight"] = a.curve_weight;
    o["usual_lr"] = number(a.usual_lr);
    o["lowest"] = number(a.lowest);
    o["rules"] = {{"steepest", a.suggestion ? Json(a.suggestion->lr) : Json(nullptr)},
                  {"valley", number(a.fastai.valley)},
                  {"slide", number(a.fastai.slide)},
                  {"minimum", number(a.fastai.minimum)},
                  {"steep", number(a.fastai.steep)}};
    o["edge"] = number(a.edge);
    o["noise"] = a.sigma;
    const bool complete = !test || test->stopped == RangeTestStop::end;
    o["stopped"] = complete ? Json(nullptr) : Json(to_string(test->stopped));
    o["steps"] = a.lr.size();
    o["planned_steps"] = test ? test->planned_steps : static_cast<std::int64_t>(a.lr.size());
    o["momentum"] = test ? number(test->momentum) : Json(nullptr);
    o["passes"] = test ? number(test->passes) : Json(nullptr);
    o["state_digest_before"] = test ? Json(test->digest_before) : Json(nullptr);
    o["state_digest_after"] = test ? Json(test->digest_after) : Json(nullptr);
    o["seconds"] = test ? number(test->seconds) : Json(nullptr);
    return o;
}

}  // namespace

std::string find_csv(const RangeTestAnalysis& a, const FindContext& context) {
    const std::string known = fmt::format("{},{}", a.usual_lr ? fmt::to_string(*a.usual_lr) : "",
                                          context.updates > 0 ? fmt::to_string(context.updates) : "");
    fmt::memory_buffer out;
    fmt::format_to(std::back_inserter(out), "lr,loss,smoothed,{},{}\n", usual_column, updates_column);
    for (std::size_t i = 0; i < a.lr.size(); ++i)
        fmt::format_to(std::back_inserter(out), "{},{},{},{}\n", csv_cell(a.lr[i]), csv_cell(a.loss[i]),
                       csv_cell(a.smoothed[i]), known);
    return fmt::to_string(out);
}

std::string find_json(const RangeTestResult& test, const FindContext& context,
                      const std::optional<std::vector<RateTrial>>& trials) {
    Json o = to_object(test.analysis, &test, context);
    if (trials) {
        o["verify"] = Json::array();
        for (const RateTrial& t : *trials) {
            const bool ended = t.accuracy.has_value();
            o["verify"].push_back({{"lr", t.lr},
                                   {"steps", t.updates},
                                   {"valid_loss", number(t.valid_loss)},
                                   {"accuracy", number(t.accuracy)},
                                   {"accuracy_low", ended ? Json(t.interval.low) : Json(nullptr)},
                                   {"accuracy_high", ended ? Json(t.interval.high) : Json(nullptr)}});
        }
    }
    return o.dump(2) + "\n";
}

std::string find_json(const RangeTestAnalysis& analysis, const FindContext& context) {
    return to_object(analysis, nullptr, context).dump(2) + "\n";
}

std::string sweep_json(SweepParameter parameter, const std::vector<SweepResult>& results) {
    const SweepVerdict verdict = judge_sweep(parameter, results);
    Json o;
    o["parameter"] = to_string(parameter);
    o["curves"] = Json::array();
    for (const SweepResult& result : results) {
        Json curve;
        curve["value"] = result.value;
        curve.update(to_object(result.test.analysis, &result.test, {}));
        o["curves"].push_back(std::move(curve));
    }
    o["advice"] = verdict.advice;
    o["best"] =
        verdict.best < 0 ? Json(nullptr) : Json(results[static_cast<std::size_t>(verdict.best)].value);
    return o.dump(2) + "\n";
}

}  // namespace onecycle
