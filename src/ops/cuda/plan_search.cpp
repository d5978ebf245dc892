#include "ops/cuda/plan_search.h"

#include <chrono>
#include <map>
#include <utility>

namespace onecycle {

DeviceLost::DeviceLost(std::string plan, const std::string& convolution, const std::string& why)
    : Error(ErrorKind::device, "a plan of cuDNN broke the device", plan + " of " + convolution, why,
            "start again: this plan is left out from now on"),
      plan_(std::move(plan)) {}

std::vector<std::size_t> order_of_trials(const std::vector<std::string>& plans) {
    constexpr int of_one_engine = 7;
    std::map<std::string, int> seen;
    std::vector<std::size_t> order, later;
    for (std::size_t i = 0; i < plans.size(); ++i)
        (seen[plans[i].substr(0, plans[i].find(':'))]++ < of_one_engine ? order : later).push_back(i);
    order.insert(order.end(), later.begin(), later.end());
    return order;
}

PlanSearch search_plans(const std::string& convolution, const std::vector<std::string>& plans,
                        const PlanTrials& trials) {
    const auto begin = std::chrono::steady_clock::now();
    PlanSearch search;
    double best = 1e30;
    for (const std::size_t i : order_of_trials(plans)) {
        const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
        if (search.timed.size() == trials.most || (search.best && taken.count() > trials.seconds)) break;
        try {
            const std::optional<double> time = trials.time(i, best);
            if (!time) continue;
            search.timed.push_back({plans[i], *time});
            if (*time >= best) continue;
            best = *time;
            search.best = i;
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::device) throw;
            if (!trials.device_works()) throw DeviceLost(plans[i], convolution, error.what());
            if (search.failed++ == 0) search.first_failure = plans[i] + ": " + error.what();
        }
    }
    return search;
}

}  // namespace onecycle
