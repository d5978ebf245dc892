#include "data/dataset_bytes.h"

#include <bit>
#include <map>

#include "data/image_place.h"
#include "data/packing.h"

namespace onecycle {

namespace {

void pack_strings(Packer& packer, const std::vector<std::string>& texts) {
    packer.number(texts.size());
    for (const std::string& text : texts) packer.text(text);
}
std::vector<std::string> unpack_strings(Unpacker& unpacker) {
    std::vector<std::string> texts(unpacker.count(1));
    for (std::string& text : texts) text = unpacker.text();
    return texts;
}

// What images have in common goes once, and a number stands for it.
class Homes {
  public:
    explicit Homes(const Dataset& dataset) {
        for (const auto* side : {&dataset.train, &dataset.valid})
            for (const Sample& sample : *side)
                if (const ImagePlace::Record* record = sample.place.record())
                    if (numbers_.try_emplace(record->home, numbers_.size()).second)
                        homes_.push_back(record->home);
    }
    void pack(Packer& packer) const {
        packer.number(homes_.size());
        for (const ImageHome* home : homes_) {
            packer.text(home->prefix);
            packer.hash(home->skip);
            packer.text(home->below);
            packer.number(home->shard ? 1 : 0);
            if (!home->shard) continue;
            packer.text(home->shard->path);
            packer.number(home->shard->bytes);
            packer.hash(std::bit_cast<std::uint64_t>(home->shard->changed));
        }
    }
    std::uint64_t number(const ImageHome* home) const { return numbers_.at(home); }

  private:
    std::map<const ImageHome*, std::uint64_t> numbers_;
    std::vector<const ImageHome*> homes_;
};

std::vector<const ImageHome*> unpack_homes(Unpacker& unpacker, ImagePlaces& places) {
    std::vector<const ImageHome*> homes(unpacker.count(4));
    for (const ImageHome*& home : homes) {
        ImageHome made{.prefix = unpacker.text()};
        made.skip = static_cast<std::size_t>(unpacker.hash());
        made.below = unpacker.text();
        if (unpacker.number() != 0) {
            Shard shard{.path = unpacker.text()};
            shard.bytes = unpacker.number();
            shard.changed = std::bit_cast<std::int64_t>(unpacker.hash());
            made.shard = std::make_shared<const Shard>(std::move(shard));
        }
        home = &places.home(std::move(made));
    }
    return homes;
}

// A place is a home's number and one, a name and a part of a shard; 0: nowhere.
void pack_side(Packer& packer, const std::vector<Sample>& side, const Homes& homes) {
    packer.number(side.size());
    for (const Sample& sample : side) {
        const ImagePlace::Record* record = sample.place.record();
        packer.number(record ? homes.number(record->home) + 1 : 0);
        if (record) {
            packer.text(record->name());
            packer.number(record->offset);
            packer.number(record->bytes);
        }
        packer.number(static_cast<std::uint64_t>(sample.label));
        packer.number(static_cast<std::uint64_t>(sample.width));
        packer.number(static_cast<std::uint64_t>(sample.height));
        packer.number(sample.bytes);
        packer.hash(sample.content);
        packer.hash(std::bit_cast<std::uint64_t>(sample.changed));
    }
}

std::vector<Sample> unpack_side(Unpacker& unpacker, const std::vector<const ImageHome*>& homes,
                                ImagePlaces& places) {
    constexpr std::size_t fewest_bytes = 21;
    std::vector<Sample> side(unpacker.count(fewest_bytes));
    for (Sample& sample : side) {
        if (const std::uint64_t home = unpacker.number()) {
            const std::string name = unpacker.text();
            const std::uint64_t offset = unpacker.number(), bytes = unpacker.number();
            sample.place = places.add(*homes.at(static_cast<std::size_t>(home - 1)), name, offset,
                                      static_cast<std::uint32_t>(bytes));
        }
        sample.label = static_cast<int>(unpacker.number());
        sample.width = static_cast<int>(unpacker.number());
        sample.height = static_cast<int>(unpacker.number());
        sample.bytes = unpacker.number();
        sample.content = unpacker.hash();
        sample.changed = std::bit_cast<std::int64_t>(unpacker.hash());
    }
    return side;
}

}  // namespace

std::vector<std::uint8_t> to_bytes(const Dataset& dataset) {
    Packer packer;
    pack_strings(packer, dataset.classes);
    const Homes homes(dataset);
    homes.pack(packer);
    pack_side(packer, dataset.train, homes);
    pack_side(packer, dataset.valid, homes);
    packer.number(dataset.automatic_split ? 1 : 0);
    packer.text(dataset.train_dir);
    packer.text(dataset.valid_dir);
    packer.number(dataset.bad.size());
    for (const auto& [path, reason] : dataset.bad) {
        packer.text(path);
        packer.text(reason);
    }
    const DatasetOrigin& origin = dataset.origin;
    packer.text(origin.folder);
    packer.text(origin.valid_dir);
    packer.hash(std::bit_cast<std::uint64_t>(origin.valid_fraction));
    packer.hash(origin.seed);
    pack_strings(packer, origin.exclude);
    packer.text(origin.labels);
    packer.text(origin.label_from);
    return std::move(packer.bytes);
}

Dataset dataset_from_bytes(std::span<const std::uint8_t> bytes) {
    Unpacker unpacker(bytes);
    Dataset dataset{.classes = unpack_strings(unpacker)};
    ImagePlaces places;
    const std::vector<const ImageHome*> homes = unpack_homes(unpacker, places);
    dataset.train = unpack_side(unpacker, homes, places);
    dataset.valid = unpack_side(unpacker, homes, places);
    dataset.automatic_split = unpacker.number() != 0;
    dataset.train_dir = unpacker.text();
    dataset.valid_dir = unpacker.text();
    dataset.bad.resize(unpacker.count(2));
    for (auto& [path, reason] : dataset.bad) {
        path = unpacker.text();
        reason = unpacker.text();
    }
    DatasetOrigin& origin = dataset.origin;
    origin.folder = unpacker.text();
    origin.valid_dir = unpacker.text();
    origin.valid_fraction = std::bit_cast<double>(unpacker.hash());
    origin.seed = unpacker.hash();
    origin.exclude = unpack_strings(unpacker);
    origin.labels = unpacker.text();
    origin.label_from = unpacker.text();
    unpacker.end();
    return dataset;
}

}  // namespace onecycle
