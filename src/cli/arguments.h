// The options of a verb. A thin face over CLI11, so that only arguments.cpp and main.cpp compile
// that library: a verb binds its variables here, their values at that time being the defaults that
// the help shows.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace onecycle::cli {

class Arguments {
  public:
    explicit Arguments(CLI::App& app) : app_(&app) {}

    // Options declared from here on stand under this title in the help.
    void group(const std::string& title) { group_ = title; }

    // An argument without a name. Missing ones are the verb's to refuse: it knows when they are
    // needed.
    void positional(const std::string& name, std::string& value, const std::string& help);
    void positional(const std::string& name, std::vector<std::string>& values, const std::string& help);

    // One with a value. `set` may throw Error(usage). `shown` is the default as the help prints it.
    void value(const std::string& name, const std::string& type, const std::string& shown,
               const std::string& help, std::function<void(const std::string&)> set);

    void text(const std::string& name, const std::string& type, std::string& value, const std::string& help);
    // One that may be given several times; what the command line says replaces what `values` held.
    void texts(const std::string& name, const std::string& type, std::vector<std::string>& values,
               const std::string& help);
    void whole(const std::string& name, int& value, const std::string& help);
    void whole(const std::string& name, std::optional<int>& value, const std::string& help);
    void whole(const std::string& name, std::int64_t& value, const std::string& help);
    void whole(const std::string& name, std::uint64_t& value, const std::string& help);
    void number(const std::string& name, double& value, const std::string& help);
    void number(const std::string& name, std::optional<double>& value, const std::string& help);
    void flag(const std::string& name, bool& value, const std::string& help);

    // Whether the user wrote it.
    bool given(const std::string& name) const;

  private:
    CLI::App* app_;
    std::string group_ = "Options";
};

// The number that `text` is, whole and finite; else Error(usage) naming the option.
double parse_number(const std::string& option, const std::string& text);
// A number of bytes above 0, with K, M or G behind it for KiB, MiB or GiB. Throws Error(usage).
std::uint64_t parse_bytes(const std::string& option, const std::string& text);

}  // namespace onecycle::cli
