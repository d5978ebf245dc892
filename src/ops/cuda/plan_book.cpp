#include "ops/cuda/plan_book.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace onecycle {

using nlohmann::json;

// A record that is damaged holds nothing: then plans are chosen anew.
PlanBook::Plans PlanBook::parse(const std::string& record) {
    const json whole = json::parse(record, nullptr, false);
    const auto text_of = [](const json& value) {
        return value.is_string() ? value.get<std::string>() : std::string();
    };
    Plans plans;
    if (!whole.is_object() || !whole.contains("machine") || !whole.contains("plans")) return plans;
    plans.machine = text_of(whole["machine"]);
    if (whole["plans"].is_object())
        for (const auto& [convolution, plan] : whole["plans"].items())
            plans.plan[convolution] = text_of(plan);
    return plans;
}

bool PlanBook::prefer(const std::string& record) {
    if (record == text()) return false;
    preferred_ = parse(record);
    used_ = {};
    return true;
}

std::optional<std::string> PlanBook::preferred(const std::string& machine,
                                               const std::string& convolution) const {
    if (machine != preferred_.machine) return std::nullopt;
    const auto found = preferred_.plan.find(convolution);
    return found == preferred_.plan.end() ? std::nullopt : std::optional(found->second);
}

void PlanBook::use(const std::string& machine, const std::string& convolution, const std::string& plan) {
    used_.machine = machine;
    used_.plan[convolution] = plan;
}

std::string PlanBook::text() const {
    if (used_.plan.empty()) return "";
    return json{{"machine", used_.machine}, {"plans", used_.plan}}.dump();
}

std::string PlanBook::complaint() const {
    if (used_.plan.empty() || preferred_.plan.empty()) return "";
    constexpr const char* so = "results may differ in their last bits";
    if (used_.machine != preferred_.machine)
        return fmt::format("the checkpoint's convolutions were planned for {}, here is {}: {}",
                           preferred_.machine, used_.machine, so);
    std::string first;
    int others = 0;
    for (const auto& [convolution, plan] : used_.plan) {
        const auto before = preferred_.plan.find(convolution);
        if (before == preferred_.plan.end() || before->second == plan) continue;
        if (first.empty())
            first = fmt::format("{} of {}", before->second, convolution);
        else
            ++others;
    }
    if (first.empty()) return "";
    return fmt::format("a plan of the checkpoint cannot be had any more ({}{}), another takes its place: {}",
                       first, others ? fmt::format(" and {} more", others) : "", so);
}

}  // namespace onecycle
