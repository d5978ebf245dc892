#include "data/image_list.h"

#include "data/image_place.h"
#include "data/packing.h"

#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace onecycle {

namespace {

constexpr std::uint8_t version = 1;

std::size_t shared_start(std::string_view a, std::string_view b) {
    return static_cast<std::size_t>(
        std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(std::min(a.size(), b.size())),
                      b.begin())
            .first -
        a.begin());
}

void pack_side(Packer& packer, const std::vector<Sample>& side) {
    packer.number(side.size());
    std::string_view before;
    for (const Sample& sample : side) {
        const std::string_view name = sample.name();
        const std::size_t shared = shared_start(before, name);
        packer.number(static_cast<std::uint64_t>(sample.label));
        packer.number(shared);
        packer.text(name.substr(shared));
        packer.number(sample.bytes);
        packer.hash(sample.content);
        before = name;
    }
}

std::vector<Sample> unpack_side(Unpacker& unpacker, std::size_t classes) {
    // Longer than any path: names that each share all of the one before would fill the memory.
    constexpr std::size_t fewest_bytes = 12, longest_name = 1 << 16;
    std::vector<Sample> side(unpacker.count(fewest_bytes));
    ImagePlaces places;
    const ImageHome& unknown = places.home({.skip = std::string::npos});
    std::string before;
    for (Sample& sample : side) {
        const std::uint64_t label = unpacker.number(), shared = unpacker.number();
        if (label >= classes || shared > before.size()) throw std::runtime_error("an entry is out of range");
        sample.label = static_cast<int>(label);
        before.resize(static_cast<std::size_t>(shared));
        before += unpacker.text();
        if (before.size() > longest_name) throw std::runtime_error("a name is too long");
        sample.place = places.add(unknown, before);
        sample.bytes = unpacker.number();
        sample.content = unpacker.hash();
    }
    return side;
}

bool same_contents(const Sample& a, const Sample& b) {
    return a.bytes == b.bytes && a.content == b.content;
}

using ByName = std::unordered_map<std::string_view, const Sample*>;

void add_names(ByName& names, const std::vector<Sample>& samples) {
    for (const Sample& sample : samples) names.emplace(sample.name(), &sample);
}

}  // namespace

ImageList image_list(const Dataset& dataset) {
    ImageList list{dataset.classes, dataset.train, dataset.valid, dataset.automatic_split};
    for (std::vector<Sample>* side : {&list.train, &list.valid})
        for (Sample& sample : *side) sample.width = sample.height = 0;
    return list;
}

namespace {

template <class List>  // ImageList or Dataset, of which it needs no copy
std::vector<std::uint8_t> packed(const List& list) {
    Packer packer;
    packer.bytes = {version, static_cast<std::uint8_t>(list.automatic_split)};
    packer.number(list.classes.size());
    for (const std::string& name : list.classes) packer.text(name);
    pack_side(packer, list.train);
    pack_side(packer, list.valid);
    return std::move(packer.bytes);
}

}  // namespace

std::vector<std::uint8_t> pack(const ImageList& list) {
    return packed(list);
}

std::vector<std::uint8_t> pack_image_list(const Dataset& dataset) {
    return packed(dataset);
}

ImageList unpack(std::span<const std::uint8_t> bytes) {
    Unpacker unpacker(bytes);
    if (unpacker.byte() != version) throw std::runtime_error("it has another version");
    ImageList list;
    list.automatic_split = unpacker.byte() != 0;
    list.classes.resize(unpacker.count(1));
    for (std::string& name : list.classes) name = unpacker.text();
    list.train = unpack_side(unpacker, list.classes.size());
    list.valid = unpack_side(unpacker, list.classes.size());
    unpacker.end();
    return list;
}

Dataset listed_dataset(const ImageList& list, const Dataset& found, ListDifference& difference) {
    Dataset dataset = found;
    dataset.classes = list.classes;
    ByName by_name[2];  // of each side; both are one where one folder holds them
    for (ByName& names : by_name) {
        const bool training = &names == by_name;
        if (training || list.automatic_split) add_names(names, found.train);
        if (!training || list.automatic_split) add_names(names, found.valid);
    }
    std::unordered_set<std::string> listed_paths, bad_paths;
    for (const BadImage& bad : found.bad) bad_paths.insert(bad.path);
    difference = {};
    ImagePlaces places;  // of what is not there any more
    const ImageHome* const gone[] = {&places.home({.prefix = found.train_dir + "/"}),
                                     &places.home({.prefix = found.valid_dir + "/"})};
    std::size_t placed_here = 0;
    const auto place = [&](bool training) {
        std::vector<Sample> placed = training ? list.train : list.valid;
        const ByName& names = by_name[training ? 0 : 1];
        for (std::size_t k = 0; k < placed.size(); ++k) {
            Sample& sample = placed[k];
            const auto there = names.find(sample.name());
            const bool is_there = there != names.end(),
                       is_same = is_there && same_contents(sample, *there->second);
            sample.place =
                is_there ? there->second->place : places.add(*gone[training ? 0 : 1], sample.name());
            const bool has_changed = is_there || (!bad_paths.empty() && bad_paths.contains(sample.path()));
            ++(is_same ? difference.known : has_changed ? difference.changed : difference.missing);
            if (!is_same) difference.gone.emplace(training, static_cast<std::int64_t>(k));
            if (!is_there) continue;
            ++placed_here;
            sample.width = there->second->width;
            sample.height = there->second->height;
            sample.changed = there->second->changed;
        }
        return placed;
    };
    dataset.train = place(true);
    dataset.valid = place(false);
    difference.added = found.train.size() + found.valid.size() - placed_here;
    // What was good when the run began fails when it is read, and is counted then.
    if (dataset.bad.empty()) return dataset;
    for (const std::vector<Sample>* side : {&dataset.train, &dataset.valid})
        for (const Sample& sample : *side) listed_paths.insert(sample.path());
    std::erase_if(dataset.bad, [&](const BadImage& bad) { return listed_paths.contains(bad.path); });
    return dataset;
}

UnseenImages unseen_images(const ImageList& list, const std::vector<Sample>& samples, bool one_side) {
    ByName train, valid;
    add_names(train, list.train);
    add_names(valid, list.valid);
    std::unordered_set<std::uint64_t> trained_contents, held_out_contents, contents_here;
    for (const Sample& sample : list.train) trained_contents.insert(sample.content);
    for (const Sample& sample : list.valid) held_out_contents.insert(sample.content);

    const auto known_by = [](const ByName& names, const Sample& sample) -> const Sample* {
        const auto found = names.find(sample.name());
        return found == names.end() ? nullptr : found->second;
    };
    std::size_t same = 0, other = 0;  // of the images whose names are known
    for (const Sample& sample : samples) {
        contents_here.insert(sample.content);
        const Sample *t = known_by(train, sample), *v = known_by(valid, sample);
        if (!t && !v) continue;
        const bool is_same = (t && same_contents(*t, sample)) || (v && same_contents(*v, sample));
        ++(is_same ? same : other);
    }
    const bool training_folder = same > 0 && same >= other;

    UnseenImages unseen;
    std::unordered_set<std::string_view> names_here;
    for (const Sample& sample : samples) {
        names_here.insert(sample.name());
        const Sample *t = known_by(train, sample), *v = known_by(valid, sample);
        if (v && same_contents(*v, sample)) {
            ++unseen.held_out;
        } else if (trained_contents.contains(sample.content)) {
            ++unseen.trained_on;
            continue;
        } else if (held_out_contents.contains(sample.content)) {
            ++unseen.held_out;
        } else if (t && training_folder) {
            ++unseen.trained_on;
            ++unseen.changed;
            continue;
        } else {
            ++unseen.added;
        }
        unseen.samples.push_back(sample);
    }
    unseen.same_names = !training_folder && 2 * other > samples.size();
    const auto count_missing = [&](const std::vector<Sample>& side) {
        for (const Sample& sample : side)
            unseen.missing += !contents_here.contains(sample.content) && !names_here.contains(sample.name());
    };
    count_missing(list.valid);
    if (!one_side) count_missing(list.train);
    return unseen;
}

}  // namespace onecycle
