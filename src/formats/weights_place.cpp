#include "formats/weights_place.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>
#include <unordered_set>

namespace onecycle {
namespace {

constexpr std::array known_names = {
    "state_dict",   "model_state_dict", "model_state",       "model",   "net",       "network",
    "student",      "online_network",   "online_encoder",    "online",  "encoder_q", "query_encoder",
    "base_encoder", "backbone",         "encoder",           "body",    "trunk",     "resnet",
    "base",         "base_model",       "feature_extractor", "features"};
constexpr std::array ema_words = {"ema",      "teacher", "target", "momentum", "swa",
                                  "averaged", "average", "avg",    "polyak",   "shadow"};
constexpr std::array ema_names = {"encoder_k", "key_encoder", "encoder_m", "model_t"};

std::vector<std::string> split(std::string_view text, auto&& is_separator) {
    std::vector<std::string> parts(1);
    for (const char c : text)
        if (is_separator(c))
            parts.emplace_back();
        else
            parts.back() += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    std::erase(parts, "");
    return parts;
}

template <class Names>
std::size_t place_in(const Names& names, const std::string& name) {
    return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
}

// A dictionary under a prefix.
struct Candidate {
    std::size_t dictionary;
    std::string prefix;
    std::string label;                  // for people: "state_dict/module."
    bool whole;                         // with running statistics
    std::vector<std::string> children;  // not empty: named by their numbers
    std::string contents{};
    bool ema = false;
    std::vector<std::size_t> ranks;  // of the parts of the way, last first; lower is better

    Candidate(std::size_t which, const NamedTensors& within, std::string prefix_, bool whole_,
              std::vector<std::string> children_)
        : dictionary(which), prefix(std::move(prefix_)), whole(whole_), children(std::move(children_)) {
        for (const std::string& key : within.keys) label += key + "/";
        if (!label.empty() && prefix.empty()) label.pop_back();
        label += prefix;
        const auto ends_word = [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); };
        for (const std::string& word : split(label, ends_word))
            ema |= place_in(ema_words, word) < ema_words.size();
        for (const std::string& part : split(label, [](char c) { return c == '.' || c == '/'; })) {
            if (part == "module" || part == "_orig_mod") continue;
            ema |= place_in(ema_names, part) < ema_names.size();
            ranks.insert(ranks.begin(), place_in(known_names, part));
        }
    }
};

// Of the parts that two trainings do not leave alike.
std::string contents_of(const NamedTensors& within, const std::string& prefix, const NetworkMarks& marks) {
    std::string contents;
    for (std::size_t i = 0; i < within.contents.size(); ++i)
        for (const std::string& part : {marks.first, marks.second, marks.statistics, marks.classifier})
            if (within.names[i] == prefix + part) contents += within.contents[i] + ' ';
    return contents;
}

// The same with the children's numbers in place of their names; without children there is none.
std::vector<NetworkMarks> by_number(NetworkMarks marks) {
    if (marks.children.empty()) return {};
    for (std::string* name : {&marks.first, &marks.second, &marks.statistics}) {
        const std::size_t dot = name->find('.'), child = place_in(marks.children, name->substr(0, dot));
        *name = std::to_string(child) + name->substr(dot);
    }
    return {marks};
}

std::vector<NetworkMarks> all_forms(const std::vector<NetworkMarks>& given) {
    std::vector<NetworkMarks> forms;
    for (NetworkMarks marks : given) {
        const std::vector<NetworkMarks> numbered = by_number(marks);
        marks.children.clear();
        forms.push_back(std::move(marks));
        forms.insert(forms.end(), numbered.begin(), numbered.end());
    }
    return forms;
}

std::vector<Candidate> candidates_in(const std::vector<NamedTensors>& dictionaries,
                                     const std::vector<NetworkMarks>& known) {
    const std::vector<NetworkMarks> forms = all_forms(known);
    std::vector<Candidate> found;
    for (std::size_t d = 0; d < dictionaries.size(); ++d) {
        const std::vector<std::string>& names = dictionaries[d].names;
        const std::unordered_set<std::string_view> all(names.begin(), names.end());
        for (const NetworkMarks& marks : forms)
            for (const std::string& name : names) {
                if (!name.ends_with(marks.second)) continue;
                const std::string prefix = name.substr(0, name.size() - marks.second.size());
                const auto has = [&](std::string_view part) {
                    return all.count(prefix + std::string(part)) != 0;
                };
                if ((!prefix.empty() && !prefix.ends_with('.')) || !has(marks.first)) continue;
                const auto known_already = [&](const Candidate& c) {  // by the marks of another network
                    return c.dictionary == d && c.prefix == prefix && c.children == marks.children;
                };
                if (std::ranges::any_of(found, known_already)) continue;
                found.emplace_back(d, dictionaries[d], prefix, has(marks.statistics), marks.children);
                found.back().contents = contents_of(dictionaries[d], prefix, marks);
            }
    }
    return found;
}

// Leaves those for which `keep` holds, unless that leaves none.
template <class Keep>
void prefer(std::vector<Candidate>& candidates, Keep keep) {
    if (std::any_of(candidates.begin(), candidates.end(), keep))
        std::erase_if(candidates, [&](const Candidate& c) { return !keep(c); });
}

std::string quoted(const std::vector<Candidate>& candidates) {
    constexpr std::size_t shown = 4;
    std::string text;
    for (std::size_t i = 0; i < std::min(shown, candidates.size()); ++i)
        text += (i ? ", '" : "'") + candidates[i].label + "'";
    return text + (candidates.size() > shown ? " and more" : "");
}

// What is listed of a file that holds no known network.
ChosenWeights largest(const std::vector<NamedTensors>& dictionaries) {
    ChosenWeights chosen;
    for (std::size_t d = 1; d < dictionaries.size(); ++d)
        if (dictionaries[d].names.size() > dictionaries[chosen.dictionary].names.size())
            chosen.dictionary = d;
    if (dictionaries.empty()) return chosen;
    const auto& names = dictionaries[chosen.dictionary].names;
    static constexpr std::string_view parallel = "module.";
    if (std::all_of(names.begin(), names.end(), [](const auto& name) { return name.starts_with(parallel); }))
        chosen.prefix = parallel;
    return chosen;
}

}  // namespace

std::string network_name(const std::string& stored, const std::string& prefix,
                         const std::vector<std::string>& children) {
    if (!stored.starts_with(prefix)) return "";
    std::string name = stored.substr(prefix.size());
    if (children.empty()) return name;
    const std::size_t dot = name.find('.');
    for (std::size_t child = 0; child < children.size() && dot != std::string::npos; ++child)
        if (name.compare(0, dot, std::to_string(child)) == 0) return children[child] + name.substr(dot);
    return "";
}

ChosenWeights choose_weights(const std::vector<NamedTensors>& dictionaries, bool ema,
                             const std::vector<NetworkMarks>& marks) {
    std::vector<Candidate> candidates = candidates_in(dictionaries, marks);
    if (candidates.empty()) return largest(dictionaries);
    const std::vector<Candidate> all = candidates;
    prefer(candidates, [](const Candidate& c) { return c.whole; });
    prefer(candidates, [&](const Candidate& c) { return c.ema == ema; });
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const Candidate& a, const Candidate& b) { return a.ranks < b.ranks; });
    const Candidate best = candidates.front();
    ChosenWeights chosen{
        best.dictionary, best.prefix, best.children, true, {.taken = best.label, .ema = best.ema}};
    const auto is_same = [&](const Candidate& c) {
        return c.label == best.label || (!c.contents.empty() && c.contents == best.contents);
    };
    for (const Candidate& other : all)
        if (!is_same(other)) chosen.place.others.push_back(other.label);
    std::erase_if(candidates, [&](const Candidate& c) {
        return c.ranks != best.ranks || (c.label != best.label && is_same(c));
    });
    if (candidates.size() > 1)
        chosen.place.problem =
            std::to_string(candidates.size()) +
            " sets of tensors in it fit a network, and no rule says which counts: " + quoted(candidates);
    else if (ema && !best.ema)
        chosen.place.problem = "it holds no moving average beside the weights";
    return chosen;
}

}  // namespace onecycle
