#include "data/sides.h"

#include <algorithm>
#include <filesystem>
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
        top.each(
            [&](const Folder& folder) {
                for (const std::string& name : folder.images()) add(folder, name, top, to);
            },
            [&](const Folder& folder) { return !is_train || layout_.belongs_to_training(folder); });
    }

    // All images of DATA, for a table to choose from; those of a side's folder go there.
    void everything() {
        data_.each(
            [&](const Folder& folder) {
                const bool in_valid =
                    layout_.valid && layout_.valid != layout_.train && lies_in(folder, *layout_.valid);
                for (const std::string& name : folder.images())
                    add(folder, name, data_, in_valid ? Side::valid : Side::train);
            },
            [&](const Folder& folder) { return &folder != layout_.unlabelled; });
    }

    std::vector<FoundImage> images;

  private:
    // By their paths below DATA; a side elsewhere holds nothing of it.
    static bool lies_in(const Folder& folder, const Folder& side) {
        return !side.below().empty() && (folder.below() + "/").starts_with(side.below() + "/");
    }

    void add(const Folder& folder, const std::string& name, const Folder& top, Side to) {
        FoundImage image{.sample = {.path = folder.path() + "/" + name}, .below = name, .side = to};
        image.sample.name = image.sample.path.substr(top.path().size() + 1);
        if (!folder.below().empty()) image.below = folder.below() + "/" + name;
        std::error_code unknown;  // a broken link: reading it will say so
        const std::uintmax_t size = std::filesystem::file_size(image.sample.path, unknown);
        image.sample.bytes = unknown ? 0 : size;
        images.push_back(std::move(image));
    }

    const Folder& data_;
    const Layout& layout_;
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
bool has_no_labels(const std::vector<FoundImage>& images, const ClassNames& names) {
    return std::none_of(images.begin(), images.end(), [&](const FoundImage& image) {
        return image.side == Side::valid && !image.label.empty() && names.in_training(image.label);
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
void settle_splits(const std::vector<FoundImage>& images, const Folder& data, Layout& layout,
                   const DatasetOptions& options) {
    std::map<Side, std::size_t> counts;
    for (const FoundImage& image : images)
        if (!image.label.empty()) ++counts[image.side];
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

void tell_unlabelled(const std::vector<FoundImage>& images, const Folder& data, const Labels& labels,
                     const LogSink& log) {
    std::vector<std::string> names;
    for (const FoundImage& image : images)
        if (image.label.empty()) names.push_back(image.below);
    if (names.size() == images.size())
        refuse(data.path(),
               images.empty() ? "found no image" : "every image is " + labels.why_none() + ", as " + names[0],
               images.empty() ? "give the folder that the images are in" : "make them fit each other");
    if (!names.empty() && log)
        log(LogLevel::warning, "left out " + count_of(names.size(), "image") + " without a label, " +
                                   labels.why_none() + ": " + some_of(names));
}

void sort_samples(std::vector<Sample>& samples) {
    std::sort(samples.begin(), samples.end(), [](const Sample& a, const Sample& b) {
        return std::tie(a.label, a.name) < std::tie(b.label, b.name);
    });
}

// The classes that the folders of each side name, or the labels of its images.
ClassNames names_of(const std::vector<FoundImage>& images, const Layout& layout, const Labels& labels,
                    bool open_train) {
    ClassNames names;
    if (labels.by_folder()) {
        if (layout.train && (open_train || layout.train_is_side))
            for (const std::string& name : class_folders(*layout.train, layout)) names.add(name, true);
        if (layout.valid && layout.valid != layout.train)
            for (const std::string& name : class_folders(*layout.valid, layout)) names.add(name, false);
    }
    for (const FoundImage& image : images)
        if (!image.label.empty() && image.side != Side::none)
            names.add(image.label, image.side == Side::train);
    return names;
}

// A side's class that training does not know can be no class of the model.
void check_evaluation_classes(const std::vector<FoundImage>& images, const ClassNames& names,
                              const Layout& layout) {
    std::set<std::string> classes;
    for (const FoundImage& image : images)
        if (image.side == Side::valid && !image.label.empty()) classes.insert(image.label);
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
    std::vector<FoundImage>& images = gathering.images;
    const std::size_t in_tree = images.size();
    labels.assign(images, data.path(), [&](const std::string& below) {
        return std::any_of(options.exclude.begin(), options.exclude.end(),
                           [&](const std::string& glob) { return glob_leaves_out(glob, below); });
    });
    if (layout.named && labels.by_table())  // files that only the table knows may lie there
        for (std::size_t k = in_tree; k < images.size(); ++k)
            if (!place_in(images[k].sample.path, layout.named->path()).empty()) images[k].side = Side::valid;
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
        check_evaluation_classes(images, names, layout);

    SideImages sides;
    sides.classes = names.sorted(options.use != DatasetUse::training || !layout.train);
    if (options.log) {
        names.tell(options.log);
        if (labels.by_folder() && open_train && options.use == DatasetUse::training)
            hint_at_deeper_classes(*layout.train, layout, options.log);
    }
    for (FoundImage& image : images) {
        if (image.label.empty() || image.side == Side::none) continue;
        if (!image.fault.empty()) {
            sides.missing.push_back({image.sample.path, image.fault});
            continue;
        }
        image.sample.label = names.label(image.label);
        (image.side == Side::train ? sides.train : sides.valid).push_back(std::move(image.sample));
    }
    sort_samples(sides.train);
    sort_samples(sides.valid);
    return sides;
}

}  // namespace onecycle
