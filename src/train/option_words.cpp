#include "train/option_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "onecycle/error.h"
#include "onecycle/options.h"

namespace onecycle {

namespace {

// By kind.
constexpr std::initializer_list<const char*> optimizer_names = {"sgd", "adam", "adamw", "lars", "lamb"};

std::string listed(std::initializer_list<const char*> words) {
    std::string text;
    std::size_t i = 0;
    for (const char* word : words) {
        if (i) text += i + 1 == words.size() ? " or " : ", ";
        text += word;
        ++i;
    }
    return text;
}

}  // namespace

void refuse_option(const std::string& option, const std::string& why, const std::string& fix) {
    throw Error(ErrorKind::usage, "option not usable", option, why, fix);
}

void require_one_of(const char* option, const std::string& value, std::initializer_list<const char*> words) {
    for (const char* word : words)
        if (value == word) return;
    refuse_option(fmt::format("{} {}", option, value), "there is no such choice", "use " + listed(words));
}

OptimizerKind parse_optimizer(const std::string& name) {
    require_one_of("--optimizer", name, optimizer_names);
    return static_cast<OptimizerKind>(std::ranges::find(optimizer_names, name) - optimizer_names.begin());
}

std::string to_string(OptimizerKind kind) {
    return optimizer_names.begin()[static_cast<std::size_t>(kind)];
}

SaveErrors parse_save_errors(const std::string& name) {
    require_one_of("--save-errors", name, {"go-on", "stop"});
    return name == "stop" ? SaveErrors::stop : SaveErrors::go_on;
}

std::string to_string(SaveErrors what) {
    return what == SaveErrors::stop ? "stop" : "go-on";
}

Head parse_head(const std::string& name) {
    require_one_of("--head", name, {"linear", "fastai"});
    return name == "fastai" ? Head::fastai : Head::linear;
}

std::string to_string(Head head) {
    return head == Head::fastai ? "fastai" : "linear";
}

std::vector<SizedEpochs> parse_sizes(const std::string& text) {
    std::vector<SizedEpochs> sizes;
    const char* at = text.data();
    const char* const end = at + text.size();
    const auto number = [&](auto& value, bool more) {
        const auto [stop, error] = std::from_chars(at, end, value);
        if (error != std::errc{} || (more && (stop == end || *stop != ':')))
            refuse_option("--sizes " + text, "it is not a list of SIZE:EPOCHS", "for example 64:2,128:3");
        at = stop + more;
    };
    do {
        if (!sizes.empty()) ++at;  // the comma
        SizedEpochs& part = sizes.emplace_back();
        number(part.size, true);
        number(part.epochs, false);
    } while (at != end && *at == ',' && sizes.size() < 1000);
    if (at != end)
        refuse_option("--sizes " + text, "it is not a list of SIZE:EPOCHS", "for example 64:2,128:3");
    return sizes;
}

std::string to_string(const std::vector<SizedEpochs>& sizes) {
    std::string text;
    for (const SizedEpochs& part : sizes)
        text += fmt::format("{}{}:{}", text.empty() ? "" : ",", part.size, part.epochs);
    return text;
}

Stem parse_stem(const std::string& name) {
    require_one_of("--stem", name, {"imagenet", "small"});
    return name == "small" ? Stem::small : Stem::imagenet;
}

std::string to_string(Stem stem) {
    return stem == Stem::small ? "small" : "imagenet";
}

}  // namespace onecycle
