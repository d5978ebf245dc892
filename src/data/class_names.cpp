#include "data/class_names.h"

#include <algorithm>

#include "core/echoed.h"
#include "core/unicode.h"
#include "data/shard_label.h"
#include "onecycle/error.h"

namespace onecycle {

namespace {

std::string spelled(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names)
        text += (text.empty() ? "'" : ", '") + echoed(spelled_out(name)) + "'";
    return text;
}

}  // namespace

void ClassNames::add(const std::string& name, bool in_training) {
    Spellings& spellings = by_text_[nfc(name)];
    (in_training ? spellings.training : spellings.evaluation).insert(name);
}

bool ClassNames::in_training(const std::string& name) const {
    const auto found = by_text_.find(nfc(name));
    return found != by_text_.end() && !found->second.training.empty();
}

std::vector<std::string> ClassNames::sorted(bool with_evaluation) {
    std::vector<std::string> names;
    for (auto& [text, spellings] : by_text_) {
        if (spellings.training.empty() && !with_evaluation) continue;
        const auto& told = spellings.training.empty() ? spellings.evaluation : spellings.training;
        spellings.shown = told.size() == 1 ? *told.begin() : text;
        names.push_back(spellings.shown);
    }
    std::sort(names.begin(), names.end());
    if (numbers_ && std::all_of(names.begin(), names.end(), [](const auto& n) { return is_class_number(n); }))
        std::stable_sort(names.begin(), names.end(),
                         [](const auto& a, const auto& b) { return a.size() < b.size(); });
    for (std::size_t c = 0; c < names.size(); ++c) by_text_[nfc(names[c])].label = static_cast<int>(c);
    return names;
}

int ClassNames::label(const std::string& name) const {
    return by_text_.at(nfc(name)).label;
}

void ClassNames::tell(const LogSink& log) const {
    std::map<std::string, std::vector<std::string>> alike;
    for (const auto& [text, spellings] : by_text_) {
        std::set<std::string> all = spellings.training;
        all.insert(spellings.evaluation.begin(), spellings.evaluation.end());
        if (all.size() > 1)
            log(LogLevel::info, "one class, '" + echoed(text) + "', is written in " +
                                    std::to_string(all.size()) +
                                    " ways: " + spelled({all.begin(), all.end()}));
        if (spellings.label >= 0) alike[lookalike_key(text)].push_back(spellings.shown);
    }
    for (const auto& [key, names] : alike)
        if (names.size() > 1)
            log(LogLevel::warning, "classes whose names look alike are different classes: " + spelled(names) +
                                       "; rename the folders if they are one");
}

std::string ClassNames::meant_by(const std::string& name) const {
    for (const auto& [text, spellings] : by_text_)
        if (!spellings.training.empty() && lookalike_key(text) == lookalike_key(name))
            return " (it is " + spelled_out(name) + "; the training class is " +
                   spelled_out(*spellings.training.begin()) + ")";
    return "";
}

}  // namespace onecycle
