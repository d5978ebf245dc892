#include "data/sides.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "core/echoed.h"
#include "data/class_names.h"
#include "data/dataset_words.h"
#include "onecycle/error.h"

namespace onecycle {

namespace {

constexpr const char* expected_layout =
    "expected DATA/<class>/ folders, or DATA/train/<class>/ and DATA/val/<class>/; labels from elsewhere: "
    "--labels "
    "FILE.csv or --label-from REGEX";

// Up to three names, for one line.
std::string some_of(const std::vector<std::string>& names) {
    constexpr std::size_t shown = 3;
    std::string text;
    for (std::size_t k = 0; k < std::min(shown, names.size()); ++k)
        text += (k ? ", " : "") + echoed(names[k]);
    return names.size() > shown ? text + ", ..." : text;
}

using Side = FoundImage::Side;

// Reads the sides of a tree.
class Gathering {
  public:
    Gathering(const Folder& data, const Layout& layout) : data_(data), layout_(layout) {}

    // The images of a side's folder.
    void side(const Folder& top, Side to) {
        const bool is_train = to == Side::train;
        top.each([&](const Folder& folder) { add(folder, top, to); },
                 [&](const Folder& folder) { return !is_train || layout_.belongs_to_training(folder); });
    }

    // All images of DATA, for a table to choose from; those of a side's folder go there.
    void everything() {
        data_.each(
            [&](const Folder& folder) {
                const bool in_valid =
                    layout_.valid && layout_.valid != layout_.train && lies_in(folder, *layout_.valid);
                add(folder, data_, in_valid ? Side::valid : Side::train);
            },
            [&](const Folder& folder) { return &folder != layout_.unlabelled; });
    }

    FoundImages images;

  private:
    // By their paths below DATA; a side elsewhere holds nothing of it.
    static bool lies_in(const Folder& folder, const Folder& side) {
        return !side.below().empty() && (folder.below() + "/").starts_with(side.below() + "/");
    }

    void add(const Folder& folder, const Folder& top, Side to) {
        const std::string below = top.below().empty() ? "" : top.below() + "/";
        std::string name = folder.path().substr(top.path().size());  // begins with a slash, or is empty
        name = name.empty() ? "" : name.substr(1) + "/";
        const std::size_t begin = name.size();
        const ImageHome* home = nullptr;
        const ShardIndex* of_home = nullptr;
        for (std::size_t k = 0; k < folder.images().size(); ++k) {
            const ShardNode::Image* const member = folder.in_shard(k);
            name.resize(begin);
            name += folder.images()[k];
            FoundImage& image = images.list.emplace_back(FoundImage{.side = to});
            if (!member) {
                if (!home) home = &home_of(top, nullptr, {.prefix = top.path() + "/", .below = below});
                image.sample.place = images.places.add(*home, name);
                continue;
            }
            if (member->index != of_home) home = &shard_home(*member, name, top, below);
            of_home = member->index;
            add_member(image, *member, *home, name);
            if (k > 0 && folder.images()[k] == folder.images()[k - 1] && image.fault < 0)
                image.fault =
                    images.texts.number("its name is also in " + folder.in_shard(k - 1)->index->shard->path);
        }
    }

    void add_member(FoundImage& image, const ShardNode::Image& member, const ImageHome& home,
                    const std::string& name) {
        const ShardIndex& index = *member.index;
        const ShardImage& known = index.images[member.number];
        image.sample.place = images.places.add(home, name, known.offset, known.bytes);
        image.sample.bytes = known.bytes;
        image.sample.changed = index.shard->changed;
        image.sample.content = known.content;
        image.sample.width = known.width;
        image.sample.height = known.height;
        if (known.label >= 0) image.beside = images.texts.number(index.text(known.label));
        if (known.fault >= 0) image.fault = images.texts.number(index.text(known.fault));
    }

    // Of the member and the name, the longer one begins with what the other lacks.
    const ImageHome& shard_home(const ShardNode::Image& member, const std::string& name, const Folder& top,
                                const std::string& below) {
        const std::string path(member.path());
        std::string prefix = member.index->shard->path + "/";
        const std::size_t more = path.size() > name.size() ? path.size() - name.size() : 0;
        prefix += path.substr(0, more);
        const std::size_t skip = name.size() > path.size() ? name.size() - path.size() : 0;
        return home_of(top, member.index,
                       {.prefix = prefix, .skip = skip, .below = below, .shard = member.index->shard});
    }

    // One for all folders of a side, or for the part of it that lies in a shard.
    const ImageHome& home_of(const Folder& top, const ShardIndex* shard, ImageHome home) {
        const auto [found, is_new] = homes_.try_emplace(std::tuple(&top, shard, home.prefix, home.skip));
        if (is_new) found->second = &images.places.home(std::move(home));
        return *found->second;
    }

    const Folder& data_;
    const Layout& layout_;
    std::map<std::tuple<const Folder*, const ShardIndex*, std::string, std::size_t>, const ImageHome*> homes_;
};

// The class folders of a side.
std::vector<std::string> class_folders(const Folder& side, const Layout& layout) {
    std::vector<std::string> names;
    for (const auto& folder : side.folders())
        if (layout.valid == &side || layout.belongs_to_training(*folder)) names.push_back(folder->name());
    return names;
}

void check_class_folders(const Folder& side, const Layout& layout, const LogSink& log) {
    const std::size_t loose = side.images().size();
    if (class_folders(side, layout).empty()) {
        std::string found = "found " + count_of(loose, "image") + " directly in it";
        if (loose == 0)
            found = side.passed_over().other_files.empty() ? "the folder is empty"
                                                           : "found only files that are no images";
        refuse(side.path(), "no class folders; " + found, expected_layout);
    }
    if (log && loose > 0)
        log(LogLevel::warning,
            echoed(side.path()) + ": ignored " + count_of(loose, "image") + " beside the class folders");
}

// An evaluation side that is only named test may hold what is to be judged elsewhere: without any
// label of training.
bool has_no_labels(const FoundImages& images, const ClassNames& names) {
    std::vector<signed char> known(static_cast<std::size_t>(images.texts.size()), -1);
    return std::none_of(images.list.begin(), images.list.end(), [&](const FoundImage& image) {
        if (image.side != Side::valid || !images.has_label(image)) return false;
        signed char& answer = known[static_cast<std::size_t>(image.label)];
        if (answer < 0) answer = names.in_training(images.label(image));
        return answer > 0;
    });
}

// What was passed over, each thing once.
void tell_passed_over(const Folder& data, const Layout& layout, const DatasetOptions& options) {
    const LogSink& log = options.log;
    std::map<std::string, std::size_t> leftovers, excluded;
    std::vector<std::string> loops, outputs;
    const auto note = [&](const Folder& folder) {
        const Folder::PassedOver& passed = folder.passed_over();
        for (const auto& [name, count] : passed.leftovers) leftovers[name] += count;
        for (const auto& [glob, count] : passed.excluded) excluded[glob] += count;
        loops.insert(loops.end(), passed.loops.begin(), passed.loops.end());
        outputs.insert(outputs.end(), passed.outputs.begin(), passed.outputs.end());
    };
    data.each_listed(note);
    if (layout.named) layout.named->each_listed(note);
    std::sort(loops.begin(), loops.end());
    for (const std::string& loop : loops)
        log(LogLevel::warning, echoed(loop) + ": ignored, a link to a folder above it");
    const auto counted = [](const std::map<std::string, std::size_t>& counts) {
        std::string text;
        for (const auto& [name, count] : counts)
            text += (text.empty() ? "" : ", ") + echoed(name) +
                    (count > 1 ? " (" + std::to_string(count) + ")" : "");
        return text;
    };
    if (!leftovers.empty()) log(LogLevel::info, "ignored what systems leave: " + counted(leftovers));
    for (const std::string& output : outputs)
        log(LogLevel::info, "ignored " + echoed(output) + ": onecycle's own output");
    if (!excluded.empty()) log(LogLevel::info, "left out by --exclude: " + counted(excluded));
    if (options.use != DatasetUse::training) return;
    for (const std::string& glob : options.exclude)
        if (!excluded.contains(glob))
            log(LogLevel::warning, "--exclude " + echoed(glob) +
                                       " leaves nothing out: it is compared with paths below " +
                                       echoed(data.path()));
}

// The sides as a table says them.
void settle_splits(const FoundImages& images, const Folder& data, Layout& layout,
                   const DatasetOptions& options) {
    std::map<Side, std::size_t> counts;
    for (const FoundImage& image : images.list)
        if (images.has_label(image)) ++counts[image.side];
    if (counts[Side::train] == 0 && options.use == DatasetUse::training)
        refuse(data.path(), "no image is of the split train", "name it in the table's column split");
    if (counts[Side::valid] == 0) layout.valid = nullptr;
    if (counts[Side::train] == 0) layout.train = nullptr;
    if (counts[Side::none] > 0 && options.log)
        options.log(LogLevel::info, count_of(counts[Side::none], "image") +
                                        " of the split test kept apart: val is evaluated on");
}

// Files of a side that are no images, by their endings.
void tell_other_files(const Folder& side, const Layout& layout, const LogSink& log) {
    std::map<std::string, std::size_t> files;
    side.each(
        [&](const Folder& folder) {
            for (const auto& [ending, count] : folder.passed_over().other_files) files[ending] += count;
        },
        [&](const Folder& folder) { return &side == layout.valid || layout.belongs_to_training(folder); });
    for (const auto& [ending, count] : files)
        log(LogLevel::info,
            echoed(side.path()) + ": ignored " +
                count_of(count, ending.empty() ? std::string("file") : "." + echoed(ending) + " file"));
}

// Where every class folder holds only folders, those may be what was meant.
void hint_at_deeper_classes(const Folder& side, const Layout& layout, const LogSink& log) {
    std::vector<std::string> outer, inner;
    bool only_splits = true;
    for (const auto& folder : side.folders()) {
        if (!layout.belongs_to_training(*folder) || !folder->any_image()) continue;
        if (!folder->images().empty()) return;
        outer.push_back(folder->name());
        for (const auto& deeper : folder->folders()) {
            inner.push_back(deeper->name());
            only_splits = only_splits && split_name(deeper->name());
        }
    }
    if (outer.size() < 2) return;
    if (only_splits)
        log(LogLevel::warning, echoed(side.path()) + ": " + some_of(inner) +
                                   " lie inside the class folders and are "
                                   "read as one; sides stand above the classes, as train/" +
                                   echoed(outer.front()) + "/");
    else
        log(LogLevel::info, "hint: all images lie two folders down. The classes are " + some_of(outer) +
                                "; if you meant those below them (" + some_of(inner) +
                                "), give the folder they are in, as " +
                                printable(side.path() + "/" + outer.front()));
}

void tell_unlabelled(const FoundImages& images, const Folder& data, const Labels& labels,
                     const LogSink& log) {
    std::vector<std::string> names;
    for (const FoundImage& image : images.list)
        if (!images.has_label(image) && image.fault < 0) names.push_back(image.below());
    if (names.size() == images.list.size())
        refuse(data.path(),
               names.empty() ? "found no image" : "every image is " + labels.why_none() + ", as " + names[0],
               names.empty() ? "give the folder that the images are in" : "make them fit each other");
    if (!names.empty() && log)
        log(LogLevel::warning, "left out " + count_of(names.size(), "image") + " without a label, " +
                                   labels.why_none() + ": " + some_of(names));
}

void sort_samples(std::vector<Sample>& samples) {
    const auto before = [](const Sample& a, const Sample& b) {
        return a.label != b.label ? a.label < b.label : a.name() < b.name();
    };
    // As folders mostly give them.
    if (std::is_sorted(samples.begin(), samples.end(), before)) return;
    std::sort(samples.begin(), samples.end(), before);
}

// The classes that the folders of each side name, or the labels of its images.
ClassNames names_of(const FoundImages& images, const Layout& layout, const Labels& labels, bool open_train) {
    ClassNames names;
    if (labels.by_folder()) {
        if (layout.train && (open_train || layout.train_is_side))
            for (const std::string& name : class_folders(*layout.train, layout)) names.add(name, true);
        if (layout.valid && layout.valid != layout.train)
            for (const std::string& name : class_folders(*layout.valid, layout)) names.add(name, false);
    }
    std::set<std::pair<int, bool>> added;
    for (const FoundImage& image : images.list) {
        if (!images.has_label(image) || image.side == Side::none) continue;
        if (labels.by_shard() && image.fault >= 0) continue;
        const bool in_training = image.side == Side::train;
        if (added.emplace(image.label, in_training).second) names.add(images.label(image), in_training);
    }
    return names;
}

// A side's class that training does not know can be no class of the model.
void check_evaluation_classes(const FoundImages& images, const ClassNames& names, const Layout& layout,
                              const Labels& labels) {
    std::set<std::string> classes;
    std::set<int> seen;
    for (const FoundImage& image : images.list)
        if (image.side == Side::valid && images.has_label(image) && (!labels.by_shard() || image.fault < 0) &&
            seen.insert(image.label).second)
            classes.insert(images.label(image));
    if (!labels.by_shard())
        for (const std::string& name : class_folders(*layout.valid, layout)) classes.insert(name);
    for (const std::string& name : classes)
        if (!names.in_training(name))
            refuse(layout.valid->path(),
                   "class '" + name + "' is not among the training classes" + names.meant_by(name),
                   "rename or remove it, or add images of the class to the training side");
}

}  // namespace

SideImages read_sides(const Folder& data, Layout& layout, const Labels& labels,
                      const DatasetOptions& options) {
    const bool same = layout.valid == layout.train && !labels.table_has_splits();
    // To evaluate, an evaluation side is all that is needed, though it may lack a class that
    // training has.
    const bool open_train = layout.train && (!labels.by_folder() || options.use != DatasetUse::evaluation ||
                                             !layout.valid || same);
    Gathering gathering(data, layout);
    if (labels.by_table()) {
        gathering.everything();
    } else {
        if (open_train) gathering.side(*layout.train, Side::train);
        if (layout.valid && !same) gathering.side(*layout.valid, Side::valid);
    }
    FoundImages& images = gathering.images;
    const std::size_t in_tree = images.list.size();
    labels.assign(images, data.path(), [&](const std::string& below) {
        return std::any_of(options.exclude.begin(), options.exclude.end(),
                           [&](const std::string& glob) { return glob_leaves_out(glob, below); });
    });
    if (layout.named && labels.by_table())  // files that only the table knows may lie there
        for (std::size_t k = in_tree; k < images.list.size(); ++k)
            if (!place_in(images.list[k].sample.path(), layout.named->path()).empty())
                images.list[k].side = Side::valid;
    ClassNames names = names_of(images, layout, labels, open_train);
    if (layout.valid_is_test && layout.train && has_no_labels(images, names)) {
        if (options.log)
            options.log(LogLevel::info,
                        echoed(layout.valid->path()) +
                            ": no image has a label that training knows, so nothing is evaluated on it");
        layout.unlabelled = std::exchange(layout.valid, nullptr);
        layout.valid_is_test = false;
        return read_sides(data, layout, labels, options);
    }

    for (const Folder* side : {open_train ? layout.train : nullptr, same ? nullptr : layout.valid}) {
        if (!side) continue;
        if (labels.by_folder()) check_class_folders(*side, layout, options.log);
        if (options.log) tell_other_files(*side, layout, options.log);
    }
    if (options.log) tell_passed_over(data, layout, options);
    if (!labels.by_folder()) tell_unlabelled(images, data, labels, options.log);
    if (labels.table_has_splits()) settle_splits(images, data, layout, options);
    if (options.use == DatasetUse::training && layout.valid && !same && !labels.table_has_splits())
        check_evaluation_classes(images, names, layout, labels);

    SideImages sides;
    if (labels.by_shard()) names.sort_numbers();
    sides.classes = names.sorted(options.use != DatasetUse::training || !layout.train);
    if (options.log) {
        names.tell(options.log);
        if (labels.by_folder() && open_train && options.use == DatasetUse::training)
            hint_at_deeper_classes(*layout.train, layout, options.log);
    }
    std::size_t counts[2] = {};
    for (const FoundImage& image : images.list) ++counts[image.side == Side::train ? 0 : 1];
    sides.train.reserve(counts[0]);
    sides.valid.reserve(counts[1]);
    std::vector<int> class_of(static_cast<std::size_t>(images.texts.size()), -1);
    for (FoundImage& image : images.list) {
        if (image.side == Side::none) continue;
        if (image.fault >= 0 && (images.has_label(image) || labels.by_shard())) {
            sides.missing.push_back({image.sample.path(), images.texts[image.fault]});
            continue;
        }
        if (!images.has_label(image)) continue;
        int& label = class_of[static_cast<std::size_t>(image.label)];
        if (label < 0) label = names.label(images.label(image));
        image.sample.label = label;
        (image.side == Side::train ? sides.train : sides.valid).push_back(std::move(image.sample));
    }
    images.list = {};
    sort_samples(sides.train);
    sort_samples(sides.valid);
    return sides;
}

}  // namespace onecycle
