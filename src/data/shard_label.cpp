#include "data/shard_label.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace onecycle {

namespace {

constexpr std::size_t longest_label = 255;

std::string trimmed(std::string_view text) {
    constexpr std::string_view blanks = " \t\r\n";
    const std::size_t begin = text.find_first_not_of(blanks);
    if (begin == std::string_view::npos) return "";
    return std::string(text.substr(begin, text.find_last_not_of(blanks) - begin + 1));
}

bool is_label(const std::string& text) {
    return !text.empty() && text.size() <= longest_label &&
           std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < ' '; });
}

// "007" is class 7.
std::string plain(std::string text) {
    if (is_class_number(text)) text.erase(0, std::min(text.find_first_not_of('0'), text.size() - 1));
    return text;
}

}  // namespace

void ShardLabel::take(std::string& mine, const std::string& label, bool& has, const char* name) {
    if (std::exchange(has, true)) {
        fault = std::string("its key has two files .") + name;
        return;
    }
    mine = plain(label);
    // A name beside a number says the same in other words.
    if (!cls.empty() && !json.empty() && cls != json && is_class_number(cls) == is_class_number(json))
        fault = "its .cls says '" + cls + "', its .json '" + json + "'";
}

void ShardLabel::add_cls(std::string_view contents, bool too_long) {
    const std::string label = trimmed(contents);
    if (too_long || !is_label(label)) {
        fault = label.empty() ? "its .cls is empty" : "its .cls is no class";
        return;
    }
    take(cls, label, has_cls_, "cls");
}

void ShardLabel::add_json(std::string_view contents, bool too_long) {
    const nlohmann::json all = too_long ? nlohmann::json() : nlohmann::json::parse(contents, nullptr, false);
    if (!all.is_object()) {
        if (all.is_discarded()) fault = "its .json is damaged";
        return;
    }
    for (const char* field : {"cls", "label", "class"}) {
        const auto found = all.find(field);
        if (found == all.end()) continue;
        std::string label;
        if (found->is_string())
            label = trimmed(found->get<std::string>());
        else if (found->is_number_unsigned() ||
                 (found->is_number_integer() && found->get<std::int64_t>() >= 0))
            label = std::to_string(found->get<std::uint64_t>());
        if (!is_label(label)) {
            fault = std::string("the field ") + field + " of its .json is no class";
            return;
        }
        return take(json, label, has_json_, "json");
    }
}

bool is_class_number(std::string_view label) {
    return !label.empty() && label.size() <= 9 &&
           std::all_of(label.begin(), label.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace onecycle
