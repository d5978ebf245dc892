#include "cli/arguments.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <charconv>
#include <cmath>
#include <string_view>

#include "onecycle/error.h"

namespace onecycle::cli {

namespace {

[[noreturn]] void refuse(const std::string& option, const std::string& text, const std::string& why,
                         const std::string& fix) {
    throw Error(ErrorKind::usage, "bad option", option + (text.empty() ? " ''" : " " + text), why, fix);
}

template <class Int>
Int parse_whole(const std::string& option, const std::string& text) {
    Int value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error == std::errc::result_out_of_range)
        refuse(option, text, "the number is too large", "use a smaller one");
    if (error != std::errc{} || stop != end)
        refuse(option, text, "not a whole number",
               std::is_unsigned_v<Int> ? "write 0 or a positive number" : "for example " + option + " 1");
    return value;
}

}  // namespace

double parse_number(const std::string& option, const std::string& text) {
    double value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || stop != end || !std::isfinite(value))
        refuse(option, text, "not a number", "write it like 0.01 or 1e-2");
    return value;
}

std::uint64_t parse_bytes(const std::string& option, const std::string& text) {
    const auto wrong = [&] { refuse(option, text, "no number of bytes", "write it like 500M or 2G"); };
    static constexpr std::string_view units = "KMG";
    const std::size_t unit = text.empty() ? std::string_view::npos : units.find(text.back());
    const bool has_unit = unit != std::string_view::npos;
    double value = 0;
    const char* end = text.data() + text.size() - (has_unit ? 1 : 0);
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (has_unit) value = std::ldexp(value, 10 * (static_cast<int>(unit) + 1));
    if (error != std::errc{} || stop != end || !(value >= 1 && value < 1e18)) wrong();
    return static_cast<std::uint64_t>(value);
}

void Arguments::positional(const std::string& name, std::string& value, const std::string& help) {
    app_->add_option(name, value, help)->type_name("")->group("Arguments");
}

void Arguments::positional(const std::string& name, std::vector<std::string>& values,
                           const std::string& help) {
    app_->add_option(name, values, help)->type_name("")->group("Arguments");
}

void Arguments::value(const std::string& name, const std::string& type, const std::string& shown,
                      const std::string& help, std::function<void(const std::string&)> set) {
    app_->add_option_function<std::string>(name, set, help)
        ->type_name(type)
        ->default_str(shown)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
        ->group(group_);
}

void Arguments::text(const std::string& name, const std::string& type, std::string& target,
                     const std::string& help) {
    value(name, type, target, help, [&target, name](const std::string& text) {
        if (text.empty()) refuse(name, text, "the value is empty", "give one, or leave the option out");
        target = text;
    });
}

void Arguments::texts(const std::string& name, const std::string& type, std::vector<std::string>& targets,
                      const std::string& help) {
    const auto set = [&targets, name](const std::vector<std::string>& texts) {
        for (const std::string& text : texts)
            if (text.empty()) refuse(name, text, "the value is empty", "give one, or leave the option out");
        targets = texts;
    };
    std::string shown;
    for (const std::string& target : targets) shown += (shown.empty() ? "" : " ") + target;
    app_->add_option_function<std::vector<std::string>>(name, set, help)
        ->type_name(type)
        ->default_str(shown)
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->group(group_);
}

void Arguments::whole(const std::string& name, int& target, const std::string& help) {
    value(name, "N", fmt::to_string(target), help,
          [&target, name](const std::string& text) { target = parse_whole<int>(name, text); });
}

void Arguments::whole(const std::string& name, std::optional<int>& target, const std::string& help) {
    value(name, "N", target ? fmt::to_string(*target) : "", help,
          [&target, name](const std::string& text) { target = parse_whole<int>(name, text); });
}

void Arguments::whole(const std::string& name, std::int64_t& target, const std::string& help) {
    value(name, "N", fmt::to_string(target), help,
          [&target, name](const std::string& text) { target = parse_whole<std::int64_t>(name, text); });
}

void Arguments::whole(const std::string& name, std::uint64_t& target, const std::string& help) {
    value(name, "N", fmt::to_string(target), help,
          [&target, name](const std::string& text) { target = parse_whole<std::uint64_t>(name, text); });
}

void Arguments::number(const std::string& name, double& target, const std::string& help) {
    value(name, "X", fmt::to_string(target), help,
          [&target, name](const std::string& text) { target = parse_number(name, text); });
}

void Arguments::number(const std::string& name, std::optional<double>& target, const std::string& help) {
    value(name, "X", target ? fmt::to_string(*target) : "", help,
          [&target, name](const std::string& text) { target = parse_number(name, text); });
}

void Arguments::flag(const std::string& name, bool& target, const std::string& help) {
    const auto check = [name](const std::string& text) {
        if (text == "true" || text == "false") return std::string();  // `--name=false`: against a --config
        throw Error(ErrorKind::usage, "bad option", name + "=" + text, "it takes no value",
                    "leave the value out");
    };
    app_->add_flag(name, target, help)->check(check)->group(group_);
}

bool Arguments::given(const std::string& name) const {
    const CLI::Option* option = app_->get_option_no_throw(name);
    return option && option->count() > 0;
}

}  // namespace onecycle::cli
