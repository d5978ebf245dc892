#include "onecycle/dataset.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <utility>

#include "core/echoed.h"
#include "data/dataset_words.h"
#include "data/decode_budget.h"
#include "data/folder.h"
#include "data/image_check.h"
#include "data/sides.h"
#include "onecycle/image.h"
#include "rules/rng.h"

namespace onecycle {

namespace {

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

// A folder, or a file that is meant as a shard: reading it will say what else it is.
void check_data(const std::string& path) {
    std::error_code unknown;
    const bool file = std::filesystem::is_regular_file(path, unknown);
    if (!file || !(has_shard_ending(path) || has_compressed_shard_ending(path))) check_folder(path);
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
            options.log(LogLevel::warning, "  " + echoed(bad[k].path) + ": " + echoed(bad[k].reason));
        if (bad.size() > shown)
            options.log(LogLevel::warning, "  and " + std::to_string(bad.size() - shown) + " more");
    }
    if ((fail || too_many) && bad.size() == total)
        refuse(root, share + " cannot be used", "give a folder of images that can be read");
    if (fail) refuse(root, share + " cannot be used", "remove them, or use " + skip);
    if (too_many) refuse(root, share + " cannot be used", "remove them, or use " + allowed);
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
            options.log(LogLevel::warning, echoed(dataset.valid_dir) + ": no image of class '" +
                                               echoed(dataset.classes[c]) + "' to evaluate with");
}

}  // namespace

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
    check_data(root);
    if (!options.valid_dir.empty()) check_data(options.valid_dir);
    Labels labels(options.labels, options.label_from);
    if (labels.table_has_splits() && !options.valid_dir.empty())
        throw Error(ErrorKind::usage, "bad option", "--valid with --labels", "the table has a column split",
                    "leave --valid out, or remove the column");

    const auto shards = std::make_shared<ShardReading>(ShardReading{.index_folder = options.index_folder,
                                                                    .threads = options.threads,
                                                                    .stop = options.stop,
                                                                    .log = options.log});
    if (options.progress) shards->counted = [&](std::int64_t images) { options.progress(images, 0); };
    std::optional<Folder> tree(std::in_place, root, options.exclude, "", shards);
    const Folder& data = *tree;
    for (const auto& folder : data.folders()) folder->any_image();  // shards lie there, or nearer
    if (shards->labelled()) labels.read_shards(shards->folders);
    Layout layout;
    if (labels.table_has_splits())
        layout.train = layout.valid = &data;
    else
        layout = find_layout(data, options, !labels.by_folder());
    if (options.log)
        for (const auto& [level, line] : layout.lines) options.log(level, line);
    SideImages sides = read_sides(data, layout, labels, options);
    Dataset dataset;
    dataset.origin = {.folder = path,
                      .valid_dir = options.valid_dir,
                      .valid_fraction = options.valid_fraction,
                      .seed = options.seed,
                      .exclude = options.exclude,
                      .labels = options.labels,
                      .label_from = options.label_from};
    dataset.decode_budget = make_decode_budget(options.decode_memory);
    dataset.classes = std::move(sides.classes);
    dataset.train = std::move(sides.train);
    dataset.valid = std::move(sides.valid);
    dataset.bad = std::move(sides.missing);
    if (layout.train) dataset.train_dir = layout.train->path();
    if (layout.valid) dataset.valid_dir = layout.valid->path();
    const bool has_valid = layout.valid != nullptr;
    const bool same_images = layout.valid && layout.valid == layout.train && !labels.table_has_splits();

    layout = {};
    tree.reset();  // from here on only the lists are needed

    const std::size_t total = dataset.train.size() + dataset.valid.size() + dataset.bad.size();
    CheckProgress progress(options.progress, dataset.train.size() + dataset.valid.size());
    for (std::vector<Sample>* side : {&dataset.train, &dataset.valid})
        check_and_measure(*side, options, dataset.decode_budget, progress, dataset.bad);
    progress.end();
    std::sort(dataset.bad.begin(), dataset.bad.end(),
              [](const BadImage& a, const BadImage& b) { return a.path < b.path; });
    if (!shards->indices.empty() && !options.index_folder.empty()) note_in_indices(dataset, *shards);
    shards->indices.clear();
    apply_bad_policy(dataset.bad, total, root, options);

    if (same_images && options.use != DatasetUse::everything) dataset.valid = dataset.train;
    if (options.use == DatasetUse::evaluation && has_valid) {
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
        return a.label != b.label ? a.label < b.label : a.name() < b.name();
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
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    // Each item ends with a zero byte, which no file name holds.
    const auto add = [&](std::string_view item) {
        XXH3_128bits_update(&state, item.data(), item.size());
        XXH3_128bits_update(&state, "", 1);
    };
    for (const std::string& name : dataset.classes) add(name);
    for (const std::vector<Sample>* side : {&dataset.train, &dataset.valid}) {
        add("");
        for (const Sample& sample : *side) {
            const std::string& label = dataset.classes[static_cast<std::size_t>(sample.label)];
            const std::string_view name = sample.name();
            const bool says_it = name.starts_with(label) && name.substr(label.size()).starts_with('/');
            if (!says_it) add(label);
            add(name);
            add(std::to_string(sample.bytes));
        }
    }
    const XXH128_hash_t hash = XXH3_128bits_digest(&state);
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
