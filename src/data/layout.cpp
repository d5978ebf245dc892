#include "data/layout.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <set>
#include <string_view>
#include <tuple>

#include "core/echoed.h"
#include "core/unicode.h"
#include "onecycle/error.h"

namespace onecycle {

namespace {

// The first one counts where several folders are there.
constexpr std::array<std::pair<std::string_view, SplitKind>, 14> split_words = {{
    {"train", SplitKind::train},
    {"training", SplitKind::train},
    {"trainset", SplitKind::train},
    {"val", SplitKind::valid},
    {"valid", SplitKind::valid},
    {"validation", SplitKind::valid},
    {"dev", SplitKind::valid},
    {"eval", SplitKind::valid},
    {"evaluation", SplitKind::valid},
    {"valset", SplitKind::valid},
    {"validset", SplitKind::valid},
    {"test", SplitKind::test},
    {"testing", SplitKind::test},
    {"testset", SplitKind::test},
}};

// Beside a split's name they say nothing.
constexpr std::array<std::string_view, 10> filler_words = {"set",  "data", "dataset", "images", "image",
                                                           "imgs", "img",  "split",   "files",  "folder"};

// In lower case. A word ends at any sign and where a digit begins, as in "val2017"; with `capitals`
// also where a capital begins, as in "TrainImages".
std::vector<std::string> words_of(const std::string& name, bool capitals) {
    enum class Kind { none, digit, lower, upper };
    std::vector<std::string> words;
    Kind before = Kind::none;
    for (char c : name) {
        const Kind kind = c >= '0' && c <= '9'                                              ? Kind::digit
                          : c >= 'A' && c <= 'Z'                                            ? Kind::upper
                          : (c >= 'a' && c <= 'z') || static_cast<unsigned char>(c) >= 0x80 ? Kind::lower
                                                                                            : Kind::none;
        const bool goes_on = kind == before || (before == Kind::upper && kind == Kind::lower) ||
                             (!capitals && before == Kind::lower && kind == Kind::upper);
        if (kind != Kind::none && !goes_on) words.emplace_back();
        if (kind == Kind::upper) c = static_cast<char>(c - 'A' + 'a');
        if (kind != Kind::none) words.back() += c;
        before = kind;
    }
    return words;
}

struct Candidate {
    const Folder* folder;
    SplitName name;
};

bool better(const Candidate& a, const Candidate& b) {
    // "train" before "Train".
    const auto order = [](const Candidate& c) {
        const bool plain = c.folder->name() == split_words[static_cast<std::size_t>(c.name.rank)].first;
        return std::tuple(c.name.rank, !plain, c.folder->name());
    };
    return order(a) < order(b);
}

// The folders in `root` whose names say a split, best first. A name with further words counts where
// another split shares them: seg_train and seg_test, but not bullet_train alone.
std::vector<Candidate> candidates_in(const Folder& root, const Layout& layout) {
    std::vector<Candidate> all;
    std::map<std::string, std::set<SplitKind>> kinds;
    for (const auto& folder : root.folders()) {
        if (!layout.belongs_to_training(*folder)) continue;
        if (const auto name = split_name(folder->name())) {
            all.push_back({folder.get(), *name});
            kinds[name->rest].insert(name->kind);
        }
    }
    std::erase_if(all, [&](const Candidate& c) {
        const std::string& rest = c.name.rest;
        const bool number =
            std::all_of(rest.begin(), rest.end(), [](char d) { return d >= '0' && d <= '9'; });
        return !number && kinds[rest].size() < 2;
    });
    std::sort(all.begin(), all.end(), better);
    return all;
}

std::vector<const Folder*> folders_with_images(const Folder& folder, const Layout& layout) {
    std::vector<const Folder*> found;
    for (const auto& inside : folder.folders())
        if (layout.belongs_to_training(*inside) && inside->any_image()) found.push_back(inside.get());
    return found;
}

// The folder, or the only one in it when that has the same name or says the same split:
// seg_train/seg_train.
const Folder& unwrapped_side(const Folder& side, const Layout& layout) {
    if (!side.images().empty()) return side;
    const auto inside = folders_with_images(side, layout);
    if (inside.size() != 1) return side;
    const auto outer = split_name(side.name()), inner = split_name(inside.front()->name());
    const bool same_split = outer && inner && outer->kind == inner->kind;
    return same_split || lookalike_key(side.name()) == lookalike_key(inside.front()->name()) ? *inside.front()
                                                                                             : side;
}

// DATA, or the only folder in it when that holds the sides or the class folders.
const Folder& unwrapped(const Folder& data, Layout& layout, bool flat) {
    if (!data.images().empty()) return data;
    const auto inside = folders_with_images(data, layout);
    if (inside.size() != 1 || split_name(inside.front()->name())) return data;
    const Folder& inner = *inside.front();
    const bool has_sides = !candidates_in(inner, layout).empty();
    const bool has_classes =
        !flat && inner.images().empty() && folders_with_images(inner, layout).size() >= 2;
    if (!has_sides && !has_classes) return data;
    layout.lines.emplace_back(LogLevel::info, "reading " + echoed(inner.path()) +
                                                  ", the only folder of images in " + echoed(data.path()));
    return inner;
}

// A folder with images that belongs to neither side is said: it may be a class that was meant.
void tell_unused(const Folder& folder, Layout& layout) {
    const auto holds = [&](const Folder* side) {
        return side && (folder.below().empty() || side->below().starts_with(folder.below() + "/"));
    };
    if (&folder == layout.train || &folder == layout.valid || !layout.belongs_to_training(folder)) return;
    if (holds(layout.train) || holds(layout.valid)) {
        for (const auto& inside : folder.folders()) tell_unused(*inside, layout);
        if (!folder.images().empty())
            layout.lines.emplace_back(LogLevel::warning,
                                      echoed(folder.path()) + ": the images directly in it are not used");
    } else if (folder.any_image()) {
        const auto name = split_name(folder.name());
        const bool kept_apart = name && name->kind != SplitKind::train;
        layout.lines.emplace_back(kept_apart ? LogLevel::info : LogLevel::warning,
                                  echoed(folder.path()) + (kept_apart ? ": another evaluation side, not used"
                                                                      : ": its images are not used"));
    }
}

// The sides that folders of these names make in `root`.
void find_sides(const Folder& root, DatasetUse use, bool flat, Layout& layout) {
    const auto has_data = [&](const Folder& f) {
        return flat ? f.any_image()
                    : std::any_of(f.folders().begin(), f.folders().end(),
                                  [&](const auto& inside) { return layout.belongs_to_training(*inside); });
    };
    const std::vector<Candidate> candidates = candidates_in(root, layout);
    const auto folders = std::count_if(root.folders().begin(), root.folders().end(),
                                       [&](const auto& f) { return layout.belongs_to_training(*f); });
    // Then they are no classes, whatever lies in them.
    const bool only_splits = !candidates.empty() && static_cast<std::size_t>(folders) == candidates.size();

    const Candidate* train = nullptr;
    std::vector<const Candidate*> evaluations;
    for (const Candidate& c : candidates) {
        const bool is_train = c.name.kind == SplitKind::train;
        if (is_train && (!train || (!has_data(*train->folder) && has_data(*c.folder)))) train = &c;
        if (!is_train) evaluations.push_back(&c);
    }
    const bool train_is_side = train && (only_splits || has_data(*train->folder));
    if (!train_is_side) std::erase_if(evaluations, [&](const Candidate* c) { return !has_data(*c->folder); });
    const bool named = layout.valid != nullptr;
    const auto evaluate_with = [&](const Candidate& c) {
        if (named) return;
        layout.valid = &unwrapped_side(*c.folder, layout);
        layout.valid_is_test = c.name.kind == SplitKind::test;
    };
    if (train_is_side || (train && !evaluations.empty())) {
        layout.train = &unwrapped_side(*train->folder, layout);
        layout.train_is_side = true;
        if (!evaluations.empty()) evaluate_with(*evaluations.front());
        return;
    }
    // An evaluation side alone, told by its name where other folders lie beside it.
    const auto plain = std::find_if(evaluations.begin(), evaluations.end(), [](const Candidate* c) {
        const std::string& name = c->folder->name();
        return name == "val" || name == "valid" || name == "test";
    });
    if (!only_splits && (named || plain == evaluations.end())) {
        layout.train = &root;
        return;
    }
    const Candidate& alone = plain != evaluations.end() ? **plain
                             : evaluations.empty()      ? candidates.front()
                                                        : *evaluations.front();
    if (use == DatasetUse::training)
        throw Error(ErrorKind::data, "cannot use dataset", root.path(),
                    "has " + echoed(alone.folder->name()) + "/ but no train/",
                    "name the training side's folder train, or give the folder of the classes");
    evaluate_with(alone);
}

// The evaluation side is the folder `valid_dir`, wherever it lies.
void use_named(const std::string& valid_dir, const Folder& data, const DatasetOptions& options, bool flat,
               Layout& layout) {
    std::string dir = valid_dir;
    while (dir.size() > 1 && dir.back() == '/') dir.pop_back();
    layout.named = std::make_unique<Folder>(dir, options.exclude, place_in(dir, data.path()), data.reading());
    const Folder& named = *layout.named;
    layout.valid = &named;
    const Folder& root = unwrapped(data, layout, flat);
    find_sides(root, options.use, flat, layout);
    const FolderId id = named.id();
    const bool same = id == data.id() || id == root.id() || (layout.train && layout.train->id() == id);
    if (same && layout.train) {
        layout.valid = layout.train;
        if (options.use == DatasetUse::training)
            layout.lines.emplace_back(LogLevel::info,
                                      "evaluating on the images that are trained on, as --valid says");
        return;
    }
    // A part of DATA is no class and no side then. Without it, others may be found.
    layout.apart = id;
    layout.train = nullptr;
    layout.train_is_side = false;
    find_sides(root, options.use, flat, layout);

    Layout within;  // where the folder has sides itself
    find_sides(named, DatasetUse::evaluation, flat, within);
    const Folder* inner = within.valid           ? within.valid
                          : within.train_is_side ? within.train
                                                 : &unwrapped_side(named, layout);
    if (inner != &named) layout.lines.emplace_back(LogLevel::info, "evaluating on " + echoed(inner->path()));
    layout.valid = inner;
}

}  // namespace

namespace {

std::optional<SplitName> split_among(const std::vector<std::string>& words) {
    std::optional<SplitName> found;
    std::string rest;
    for (const std::string& word : words) {
        const auto known = std::find_if(split_words.begin(), split_words.end(),
                                        [&](const auto& entry) { return entry.first == word; });
        if (known != split_words.end()) {
            if (found) return std::nullopt;
            found = SplitName{known->second, static_cast<int>(known - split_words.begin()), ""};
        } else if (std::find(filler_words.begin(), filler_words.end(), word) == filler_words.end()) {
            rest += (rest.empty() ? "" : " ") + word;
        }
    }
    if (found) found->rest = rest;
    return found;
}

}  // namespace

std::string place_in(const std::string& dir, const std::string& data) {
    std::error_code error;
    const auto inner = std::filesystem::canonical(dir, error),
               outer = std::filesystem::canonical(data, error);
    const auto relative = inner.lexically_relative(outer).native();
    return error || relative == "." || relative.starts_with("..") ? "" : relative;
}

std::string side_word(const SplitName& name) {
    return std::string(split_words[static_cast<std::size_t>(name.rank)].first);
}

std::optional<SplitName> split_name(const std::string& name) {
    const auto whole = split_among(words_of(name, false));
    return whole ? whole : split_among(words_of(name, true));
}

Layout find_layout(const Folder& data, const DatasetOptions& options, bool flat) {
    Layout layout;
    if (options.valid_dir.empty()) {
        find_sides(unwrapped(data, layout, flat), options.use, flat, layout);
    } else {
        use_named(options.valid_dir, data, options, flat, layout);
    }
    if (options.use == DatasetUse::training) tell_unused(data, layout);
    return layout;
}

}  // namespace onecycle
