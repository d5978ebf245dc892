#include "onecycle/dataset.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <unordered_set>
#include <utility>

#include "core/threads.h"
#include "data/folder_scan.h"
#include "onecycle/image.h"
#include "onecycle/rng.h"

namespace onecycle {

namespace {

constexpr const char* what = "cannot use dataset";
constexpr const char* expected_layout =
    "expected DATA/<class>/ folders, or DATA/train/<class>/ and DATA/val/<class>/";

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

// Which folders hold the class folders of each side; an empty name: there is none.
struct Layout {
    std::string train, valid;
};

Layout find_layout(const std::string& root, const DatasetOptions& options) {
    Layout layout;
    layout.valid = options.valid_dir;
    // "train" may also be the name of a class, beside "bus" perhaps; class folders inside make it a side.
    const std::string train = root + "/train";
    const bool train_is_folder = is_folder(train),
               train_is_side = train_is_folder && !subfolders(train).empty();
    for (const char* name : {"val", "valid", "test"}) {
        const std::string dir = root + "/" + name;
        if (layout.valid.empty() && is_folder(dir) && (train_is_side || !subfolders(dir).empty()))
            layout.valid = dir;
    }
    const bool two_sides =
        train_is_side || (train_is_folder && (!layout.valid.empty() || subfolders(root).size() == 1));
    layout.train = two_sides ? train : root;
    if (layout.valid.empty() || !options.valid_dir.empty() || two_sides) return layout;
    if (options.use == DatasetUse::training)
        refuse(root, "has " + layout.valid.substr(root.size() + 1) + "/ but no train/",
               "name the training side's folder train, or give the folder of the classes");
    layout.train.clear();
    return layout;
}

// Scans one side and says what was passed over.
FolderScan scan_side(const std::string& dir, const LogSink& log) {
    check_folder(dir);
    FolderScan scan = scan_class_folders(dir);
    std::string found = "found " + count_of(scan.loose_images, "image") + " directly in it";
    if (scan.loose_images == 0)
        found = scan.ignored.empty() ? "the folder is empty" : "found only files that are no images";
    if (scan.classes.empty()) refuse(dir, "no class folders; " + found, expected_layout);
    if (!log) return scan;
    if (scan.loose_images > 0)
        log(LogLevel::warning, printable(dir) + ": ignored " + count_of(scan.loose_images, "image") +
                                   " beside the class folders");
    for (const auto& [extension, count] : scan.ignored)
        log(LogLevel::info,
            printable(dir) + ": ignored " +
                count_of(count, extension.empty() ? "file" : ("." + extension + " file").c_str()));
    for (const std::string& loop : scan.loops)
        log(LogLevel::warning, printable(loop) + ": ignored, a link to a folder above it");
    return scan;
}

std::vector<std::string> names_of(const FolderScan& scan) {
    std::vector<std::string> names;
    for (const ClassFolder& folder : scan.classes) names.push_back(folder.name);
    return names;
}

// The classes of both sides, whichever of them are there.
std::vector<std::string> side_classes(const Layout& layout) {
    std::vector<std::string> names;
    for (const std::string& dir : {layout.train, layout.valid}) {
        if (dir.empty()) continue;
        check_folder(dir);
        const std::vector<std::string> found = subfolders(dir);
        names.insert(names.end(), found.begin(), found.end());
    }
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
}

// The side's images with labels by `classes`, in the order of label and name.
std::vector<Sample> labelled(FolderScan scan, const std::vector<std::string>& classes,
                             const std::string& dir) {
    std::vector<Sample> samples;
    for (ClassFolder& folder : scan.classes) {
        const auto found = std::lower_bound(classes.begin(), classes.end(), folder.name);
        if (found == classes.end() || *found != folder.name)
            refuse(dir, "class '" + folder.name + "' is not among the training classes",
                   "remove the folder, or add images of the class to the training side");
        for (Sample& sample : folder.images) {
            sample.label = static_cast<int>(found - classes.begin());
            samples.push_back(std::move(sample));
        }
    }
    return samples;
}

// Names each bad file once, up to ten of them, and throws when the options do not allow so many.
void apply_bad_policy(const std::vector<BadImage>& bad, std::size_t total, const std::string& root,
                      const DatasetOptions& options) {
    if (bad.empty()) return;
    const std::string share = std::to_string(bad.size()) + " of " + count_of(total, "image");
    const bool fail = options.bad_images == BadImages::fail;
    const bool too_many = static_cast<double>(bad.size()) > options.max_bad * static_cast<double>(total);
    if (fail && bad.size() == 1)
        throw Error(ErrorKind::data, "cannot use image", bad.front().path, bad.front().reason,
                    "remove it, or use --bad-images skip");
    if (options.log) {
        options.log(LogLevel::warning, (fail || too_many ? "cannot use " : "left out ") + share);
        constexpr std::size_t shown = 10;
        for (std::size_t k = 0; k < std::min(shown, bad.size()); ++k)
            options.log(LogLevel::warning, "  " + printable(bad[k].path) + ": " + printable(bad[k].reason));
        if (bad.size() > shown)
            options.log(LogLevel::warning, "  and " + std::to_string(bad.size() - shown) + " more");
    }
    if (fail) refuse(root, share + " cannot be used", "remove them, or use --bad-images skip");
    if (too_many)
        refuse(root, share + " cannot be used", "remove them, or allow a larger share with --max-bad");
}

// The bad files, sorted by path. Notes the size in pixels of the others.
std::vector<BadImage> check_and_measure(std::vector<Sample>& samples, const DatasetOptions& options) {
    std::vector<std::optional<std::string>> reasons(samples.size());  // each worker writes its own elements
    for_each_index(samples.size(), options.threads, [&](std::size_t k) {
        try {
            Sample& sample = samples[k];
            // Before it is read: if it changes meanwhile, it has another time at the next look.
            const ImageFileStatus status = image_file_status(sample.path);
            sample.bytes = status.bytes;
            sample.changed = status.changed;
            if (options.checked_before && options.checked_before(sample)) return;
            const std::vector<std::uint8_t> bytes = read_image_bytes(sample.path);
            const ImageProbe probe = probe_image(bytes, sample.path);
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
    if (samples.empty()) refuse(dir, "no usable image", "add JPEG, PNG or BMP files to the class folders");
    if (use != DatasetUse::training) return;
    const std::vector<std::int64_t> counts = class_counts(samples, dataset.classes.size());
    for (std::size_t c = 0; c < counts.size(); ++c)
        if (counts[c] == 0)
            refuse(dir + "/" + dataset.classes[c], "a class without a usable image",
                   "add JPEG, PNG or BMP files, or remove the folder");
    if (dataset.classes.size() < 2)
        refuse(dir, "only one class ('" + dataset.classes.front() + "')",
               "training needs two class folders or more");
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
    if (dataset.valid.empty())
        refuse(dataset.valid_dir, "no image for evaluation",
               dataset.automatic_split ? "a class needs two images to be on both sides of the split"
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
    if (!(options.valid_fraction > 0 && options.valid_fraction < 1))
        throw Error(ErrorKind::usage, "value out of range", "--valid-fraction",
                    "it must lie between 0 and 1");
    if (!(options.max_bad >= 0 && options.max_bad <= 1))
        throw Error(ErrorKind::usage, "value out of range", "--max-bad", "it must lie between 0 and 1");
    std::string root = path;
    while (root.size() > 1 && root.back() == '/') root.pop_back();
    check_folder(root);

    const Layout layout = find_layout(root, options);
    Dataset dataset;
    dataset.valid_dir = layout.valid;
    // To evaluate, an evaluation side is all that is needed, though it may lack a class that training has.
    if (options.use != DatasetUse::evaluation || layout.valid.empty()) dataset.train_dir = layout.train;
    if (options.use != DatasetUse::training && !layout.valid.empty() && layout.train != root)
        dataset.classes = side_classes(layout);
    for (const std::string& dir : {dataset.train_dir, dataset.valid_dir}) {
        if (dir.empty()) continue;
        FolderScan scan = scan_side(dir, options.log);
        dataset.bad.insert(dataset.bad.end(), scan.unsupported.begin(), scan.unsupported.end());
        if (dataset.classes.empty()) dataset.classes = names_of(scan);
        (dir == dataset.train_dir ? dataset.train : dataset.valid) =
            labelled(std::move(scan), dataset.classes, dir);
    }

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

    check_classes(dataset, dataset.train_dir.empty() ? dataset.valid_dir : dataset.train_dir, options.use);
    if (dataset.valid_dir.empty()) {
        split(dataset, options);
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
