#include "onecycle/dataset.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "core/threads.h"
#include "core/unicode.h"
#include "data/folder.h"
#include "data/labels.h"
#include "data/layout.h"
#include "onecycle/image.h"
#include "onecycle/rng.h"

namespace onecycle {

namespace {

constexpr const char* what = "cannot use dataset";
constexpr const char* expected_layout =
    "expected DATA/<class>/ folders, or DATA/train/<class>/ and DATA/val/<class>/; labels from elsewhere: "
    "--labels "
    "FILE.csv or --label-from REGEX";

[[noreturn]] void refuse(const std::string& where, const std::string& why, const std::string& fix) {
    throw Error(ErrorKind::data, what, where, why, fix);
}

std::string count_of(std::size_t n, const char* noun) {
    return std::to_string(n) + " " + noun + (n == 1 ? "" : "s");
}

void check_folder(const std::string& path) {
    if (is_folder(path)) return;
    std::error_code error;
    const bool there = std::filesystem::exists(path, error);
    refuse(path,
           error   ? error.message()
           : there ? "is a file, not a folder"
                   : "no such folder",
           "give a folder of images: DATA/<class>/ or DATA/train/<class>/");
}

// Up to three names, for one line.
std::string some_of(const std::vector<std::string>& names) {
    constexpr std::size_t shown = 3;
    std::string text;
    for (std::size_t k = 0; k < std::min(shown, names.size()); ++k)
        text += (k ? ", " : "") + printable(names[k]);
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
            printable(side.path()) + ": ignored " + count_of(loose, "image") + " beside the class folders");
}

// Class names as they are shown and sorted: one for all spellings that are the same text.
class ClassNames {
  public:
    void add(const std::string& name, bool in_training) {
        Spellings& spellings = by_text_[nfc(name)];
        (in_training ? spellings.training : spellings.evaluation).insert(name);
    }
    bool in_training(const std::string& name) const {
        const auto found = by_text_.find(nfc(name));
        return found != by_text_.end() && !found->second.training.empty();
    }

    // Sorted by bytes. A class of one spelling keeps it; the training side's counts.
    std::vector<std::string> sorted(bool with_evaluation) {
        std::vector<std::string> names;
        for (auto& [text, spellings] : by_text_) {
            if (spellings.training.empty() && !with_evaluation) continue;
            const auto& told = spellings.training.empty() ? spellings.evaluation : spellings.training;
            spellings.shown = told.size() == 1 ? *told.begin() : text;
            names.push_back(spellings.shown);
        }
        std::sort(names.begin(), names.end());
        for (std::size_t c = 0; c < names.size(); ++c) by_text_[nfc(names[c])].label = static_cast<int>(c);
        return names;
    }
    int label(const std::string& name) const { return by_text_.at(nfc(name)).label; }  // -1: no class

    // Names that are one class although their bytes differ, and classes whose names are easily confused.
    void tell(const LogSink& log) const {
        std::map<std::string, std::vector<std::string>> alike;
        for (const auto& [text, spellings] : by_text_) {
            std::set<std::string> all = spellings.training;
            all.insert(spellings.evaluation.begin(), spellings.evaluation.end());
            if (all.size() > 1)
                log(LogLevel::info, "one class, '" + printable(text) + "', is written in " +
                                        std::to_string(all.size()) +
                                        " ways: " + spelled({all.begin(), all.end()}));
            if (spellings.label >= 0) alike[lookalike_key(text)].push_back(spellings.shown);
        }
        for (const auto& [key, names] : alike)
            if (names.size() > 1)
                log(LogLevel::warning, "classes whose names look alike are different classes: " +
                                           spelled(names) + "; rename the folders if they are one");
    }

    // The training class that `name` may have meant, spelled so that the difference is seen; else empty.
    std::string meant_by(const std::string& name) const {
        for (const auto& [text, spellings] : by_text_)
            if (!spellings.training.empty() && lookalike_key(text) == lookalike_key(name))
                return " (it is " + spelled_out(name) + "; the training class is " +
                       spelled_out(*spellings.training.begin()) + ")";
        return "";
    }

  private:
    struct Spellings {
        std::set<std::string> training, evaluation;
        std::string shown{};
        int label = -1;
    };
    static std::string spelled(const std::vector<std::string>& names) {
        std::string text;
        for (const std::string& name : names) text += (text.empty() ? "'" : ", '") + spelled_out(name) + "'";
        return text;
    }
    std::map<std::string, Spellings> by_text_;
};

// An evaluation side that is only named test may hold what is to be judged elsewhere: without any label of training.
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
        log(LogLevel::warning, printable(loop) + ": ignored, a link to a folder above it");
    const auto counted = [](const std::map<std::string, std::size_t>& counts) {
        std::string text;
        for (const auto& [name, count] : counts)
            text += (text.empty() ? "" : ", ") + printable(name) +
                    (count > 1 ? " (" + std::to_string(count) + ")" : "");
        return text;
    };
    if (!leftovers.empty()) log(LogLevel::info, "ignored what systems leave: " + counted(leftovers));
    for (const std::string& output : outputs)
        log(LogLevel::info, "ignored " + printable(output) + ": onecycle's own output");
    if (!excluded.empty()) log(LogLevel::info, "left out by --exclude: " + counted(excluded));
    if (options.use != DatasetUse::training) return;
    for (const std::string& glob : options.exclude)
        if (!excluded.contains(glob))
            log(LogLevel::warning, "--exclude " + printable(glob) +
                                       " leaves nothing out: it is compared with paths below " +
                                       printable(data.path()));
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
            printable(side.path()) + ": ignored " +
                count_of(count, ending.empty() ? "file" : ("." + printable(ending) + " file").c_str()));
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
        log(LogLevel::warning, printable(side.path()) + ": " + some_of(inner) +
                                   " lie inside the class folders and are "
                                   "read as one; sides stand above the classes, as train/" +
                                   printable(outer.front()) + "/");
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

struct SideImages {
    std::vector<std::string> classes;
    std::vector<Sample> train, valid;  // by label, then name
    std::vector<BadImage> missing;     // that a table names
};

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

// Finds and labels the images of both sides. `layout` loses an evaluation side that has no labels.
SideImages read_sides(const Folder& data, Layout& layout, const Labels& labels,
                      const DatasetOptions& options) {
    const bool same = layout.valid == layout.train && !labels.table_has_splits();
    // To evaluate, an evaluation side is all that is needed, though it may lack a class that training has.
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
    labels.assign(images, data.path(), [&](const std::string& below) {
        return std::any_of(options.exclude.begin(), options.exclude.end(),
                           [&](const std::string& glob) { return glob_leaves_out(glob, below); });
    });
    ClassNames names = names_of(images, layout, labels, open_train);
    if (layout.valid_is_test && layout.train && has_no_labels(images, names)) {
        if (options.log)
            options.log(LogLevel::info,
                        printable(layout.valid->path()) +
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

// Names each bad file once, up to ten of them, and throws when the options do not allow so many.
void apply_bad_policy(const std::vector<BadImage>& bad, std::size_t total, const std::string& root,
                      const DatasetOptions& options) {
    if (bad.empty()) return;
    const std::string share = std::to_string(bad.size()) + " of " + count_of(total, "image");
    const bool fail = options.bad_images == BadImages::fail;
    const bool too_many = static_cast<double>(bad.size()) > options.max_bad * static_cast<double>(total);
    // The least share that lets the others be used.
    const std::string allowed = "--max-bad " + std::to_string((100 * bad.size() + total - 1) / total) + "%";
    const std::string skip = "--bad-images skip" + (too_many ? " " + allowed : "");
    if (fail && bad.size() == 1)
        throw Error(ErrorKind::data, "cannot use image", bad.front().path, bad.front().reason,
                    "remove it, or use " + skip);
    if (options.log) {
        options.log(LogLevel::warning, (fail || too_many ? "cannot use " : "left out ") + share);
        constexpr std::size_t shown = 10;
        for (std::size_t k = 0; k < std::min(shown, bad.size()); ++k)
            options.log(LogLevel::warning, "  " + printable(bad[k].path) + ": " + printable(bad[k].reason));
        if (bad.size() > shown)
            options.log(LogLevel::warning, "  and " + std::to_string(bad.size() - shown) + " more");
    }
    if ((fail || too_many) && bad.size() == total)
        refuse(root, share + " cannot be used", "give a folder of images that can be read");
    if (fail) refuse(root, share + " cannot be used", "remove them, or use " + skip);
    if (too_many) refuse(root, share + " cannot be used", "remove them, or use " + allowed);
}

// The bad files, sorted by path. Notes the size in pixels of the others.
std::vector<BadImage> check_and_measure(std::vector<Sample>& samples, const DatasetOptions& options) {
    const ImageLimits limits = limits_with(options.max_pixels);
    std::vector<std::optional<std::string>> reasons(samples.size());  // each worker writes its own elements
    for_each_index(samples.size(), options.threads, [&](std::size_t k) {
        if (const int signal = options.stop ? options.stop() : 0) throw Interrupted(signal);
        try {
            Sample& sample = samples[k];
            // Before it is read: if it changes meanwhile, it has another time at the next look.
            const ImageFileStatus status = image_file_status(sample.path);
            sample.bytes = status.bytes;
            sample.changed = status.changed;
            if (options.checked_before && options.checked_before(sample))
                if (std::int64_t{sample.width} * sample.height <= limits.max_pixels) return;
            const std::vector<std::uint8_t> bytes = read_image_bytes(sample.path, limits.max_file_bytes);
            const ImageProbe probe = probe_image(bytes, sample.path, limits);
            sample.bytes = bytes.size();
            sample.content = content_hash(bytes);
            const bool on_its_side = probe.orientation >= 5;
            sample.width = on_its_side ? probe.height : probe.width;
            sample.height = on_its_side ? probe.width : probe.height;
        } catch (const ImageError& error) {
            reasons[k] = error.reason();
        }
    });

    std::vector<BadImage> bad;
    for (std::size_t k = 0; k < samples.size(); ++k)
        if (reasons[k]) bad.push_back({samples[k].path, *reasons[k]});
    std::sort(bad.begin(), bad.end(), [](const BadImage& a, const BadImage& b) { return a.path < b.path; });
    return bad;
}

void remove_bad(std::vector<Sample>& samples, const std::unordered_set<std::string>& bad) {
    std::erase_if(samples, [&](const Sample& sample) { return bad.contains(sample.path); });
}

void check_classes(const Dataset& dataset, const std::string& dir, DatasetUse use) {
    const std::vector<Sample>& samples = dataset.train_dir.empty() ? dataset.valid : dataset.train;
    if (samples.empty()) refuse(dir, "no usable image", "add images to the class folders");
    if (use != DatasetUse::training) return;
    const std::vector<std::int64_t> counts = class_counts(samples, dataset.classes.size());
    for (std::size_t c = 0; c < counts.size(); ++c)
        if (counts[c] == 0) {
            const std::string folder = dir + "/" + dataset.classes[c];
            if (is_folder(folder))
                refuse(folder, "a class without a usable image", "add images, or remove the folder");
            refuse(dir, "class '" + dataset.classes[c] + "' has no usable image",
                   "add images, or drop the class");
        }
    if (dataset.classes.size() < 2)
        refuse(dir, "only one class ('" + dataset.classes.front() + "')",
               "give a folder with a folder for each class, two or more");
}

// Moves the evaluation side's share of each class from train to valid.
void split(Dataset& dataset, const DatasetOptions& options) {
    std::vector<Sample> train, valid;
    const std::vector<std::int64_t> counts = class_counts(dataset.train, dataset.classes.size());
    std::size_t first = 0;
    for (std::size_t c = 0; c < counts.size(); ++c) {
        const auto n = static_cast<std::uint64_t>(counts[c]);
        std::uint64_t held_out = 0;
        if (n >= 2)
            held_out = std::clamp<std::uint64_t>(
                static_cast<std::uint64_t>(std::nearbyint(options.valid_fraction * static_cast<double>(n))),
                1, n - 1);
        std::vector<bool> in_valid(n, false);
        for (std::uint64_t k = 0; k < held_out; ++k)
            in_valid[permuted_index(k, n, options.seed, RandomPurpose::split,
                                    static_cast<std::uint32_t>(c))] = true;
        for (std::uint64_t k = 0; k < n; ++k)
            (in_valid[k] ? valid : train).push_back(std::move(dataset.train[first + k]));
        first += n;
    }
    dataset.train = std::move(train);
    dataset.valid = std::move(valid);
    dataset.automatic_split = true;
}

void check_evaluation_side(const Dataset& dataset, const DatasetOptions& options) {
    if (dataset.automatic_split && options.valid_fraction == 0) return;
    if (dataset.valid.empty())
        refuse(dataset.valid_dir, "no image for evaluation",
               dataset.automatic_split ? "add images: a class of two or more is on both sides of the split"
                                       : "add images to its class folders");
    if (!options.log || dataset.automatic_split) return;
    const std::vector<std::int64_t> counts = class_counts(dataset.valid, dataset.classes.size());
    for (std::size_t c = 0; c < counts.size(); ++c)
        if (counts[c] == 0)
            options.log(LogLevel::warning, printable(dataset.valid_dir) + ": no image of class '" +
                                               printable(dataset.classes[c]) + "' to evaluate with");
}

}  // namespace

BadImages parse_bad_images(const std::string& name) {
    if (name == "skip") return BadImages::skip;
    if (name == "fail") return BadImages::fail;
    throw Error(ErrorKind::usage, "unknown value", "--bad-images", "'" + name + "'", "skip or fail");
}

Dataset open_dataset(const std::string& path, const DatasetOptions& options) {
    if (!(options.valid_fraction >= 0 && options.valid_fraction < 1))
        throw Error(ErrorKind::usage, "value out of range", "--valid-fraction",
                    "it must be at least 0 and below 1");
    if (!(options.max_bad >= 0 && options.max_bad <= 1))
        throw Error(ErrorKind::usage, "value out of range", "--max-bad", "it must lie between 0 and 1");
    if (options.max_pixels < 1)
        throw Error(ErrorKind::usage, "value out of range", "--max-pixels", "it must be at least 1");
    std::string root = path;
    while (root.size() > 1 && root.back() == '/') root.pop_back();
    check_folder(root);
    if (!options.valid_dir.empty()) check_folder(options.valid_dir);
    const Labels labels(options.labels, options.label_from);
    if (labels.table_has_splits() && !options.valid_dir.empty())
        throw Error(ErrorKind::usage, "bad option", "--valid with --labels", "the table has a column split",
                    "leave --valid out, or remove the column");

    const Folder data(root, options.exclude);
    Layout layout;
    if (labels.table_has_splits())
        layout.train = layout.valid = &data;
    else
        layout = find_layout(data, options, !labels.by_folder());
    if (options.log)
        for (const auto& [level, line] : layout.lines) options.log(level, line);
    SideImages sides = read_sides(data, layout, labels, options);
    Dataset dataset;
    dataset.classes = std::move(sides.classes);
    dataset.train = std::move(sides.train);
    dataset.valid = std::move(sides.valid);
    dataset.bad = std::move(sides.missing);
    if (layout.train) dataset.train_dir = layout.train->path();
    if (layout.valid) dataset.valid_dir = layout.valid->path();
    const bool same_images = layout.valid && layout.valid == layout.train && !labels.table_has_splits();

    const std::size_t total = dataset.train.size() + dataset.valid.size() + dataset.bad.size();
    std::unordered_set<std::string> bad_paths;
    for (std::vector<Sample>* side : {&dataset.train, &dataset.valid})
        for (BadImage& bad : check_and_measure(*side, options)) {
            bad_paths.insert(bad.path);
            dataset.bad.push_back(std::move(bad));
        }
    std::sort(dataset.bad.begin(), dataset.bad.end(),
              [](const BadImage& a, const BadImage& b) { return a.path < b.path; });
    apply_bad_policy(dataset.bad, total, root, options);
    remove_bad(dataset.train, bad_paths);
    remove_bad(dataset.valid, bad_paths);

    if (same_images && options.use != DatasetUse::everything) dataset.valid = dataset.train;
    if (options.use == DatasetUse::evaluation && layout.valid) {
        dataset.train.clear();
        dataset.train_dir.clear();
    }
    check_classes(dataset, dataset.train_dir.empty() ? dataset.valid_dir : dataset.train_dir, options.use);
    if (dataset.valid_dir.empty()) {
        if (options.valid_fraction > 0) split(dataset, options);
        dataset.automatic_split = true;
        dataset.valid_dir = dataset.train_dir;
    }
    if (options.use == DatasetUse::training) check_evaluation_side(dataset, options);
    return dataset;
}

std::vector<Sample> all_samples(const Dataset& dataset) {
    std::vector<Sample> all = dataset.train;
    all.insert(all.end(), dataset.valid.begin(), dataset.valid.end());
    std::sort(all.begin(), all.end(), [](const Sample& a, const Sample& b) {
        return std::pair(a.label, a.name) < std::pair(b.label, b.name);
    });
    return all;
}

std::vector<std::int64_t> class_counts(const std::vector<Sample>& samples, std::size_t classes) {
    std::vector<std::int64_t> counts(classes, 0);
    for (const Sample& sample : samples) ++counts[static_cast<std::size_t>(sample.label)];
    return counts;
}

std::uint64_t content_hash(std::span<const std::uint8_t> bytes) {
    const std::uint64_t hash = XXH3_64bits(bytes.data(), bytes.size());
    return hash ? hash : 1;
}

std::string digest(const Dataset& dataset) {
    std::string text;  // each item ends with a zero byte, which no file name holds
    const auto add = [&](const std::string& item) { text.append(item).push_back('\0'); };
    for (const std::string& name : dataset.classes) add(name);
    for (const std::vector<Sample>* side : {&dataset.train, &dataset.valid}) {
        add("");
        for (const Sample& sample : *side) {
            const std::string& label = dataset.classes[static_cast<std::size_t>(sample.label)];
            if (!sample.name.starts_with(label + "/")) add(label);  // else the name says it
            add(sample.name);
            add(std::to_string(sample.bytes));
        }
    }
    const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, hash);
    std::string hex;
    for (const unsigned char byte : canonical.digest) {
        hex += "0123456789abcdef"[byte >> 4];
        hex += "0123456789abcdef"[byte & 15];
    }
    return hex;
}

}  // namespace onecycle
