// What lies where in a shard: which of an archive's members are images, and what is said about
// them. Made by going through the archive once, then kept in a file beside the kept images.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "data/image_place.h"

namespace onecycle {

// An image, as it stands in the index' file. There is no padding.
struct ShardImage {
    std::uint64_t offset = 0;
    // content_hash() and size in pixels, upright, once it was read to its end and found good; else 0.
    std::uint64_t content = 0;
    std::uint32_t bytes = 0;
    std::int32_t width = 0, height = 0;
    std::int32_t label = -1;  // that key.cls or key.json says, in ShardIndex::texts; -1: none
    std::int32_t fault = -1;  // why it cannot be used, likewise
    std::uint32_t letters = 0;
    std::uint64_t name = 0;  // where its path begins in ShardIndex::names
};

struct ShardIndex {
    std::shared_ptr<const Shard> shard{};
    std::vector<ShardImage> images{};  // in the archive's order
    std::string names{};
    std::vector<std::string> texts{};               // labels and faults
    std::map<std::string, std::uint64_t> others{};  // members that are no images, by their endings
    bool labelled = false;                          // an image has a label
    bool is_new = false;                            // read_shard_index() did not find it

    std::string_view name(const ShardImage& image) const {
        return std::string_view(names).substr(image.name, image.letters);
    }
    const std::string& text(std::int32_t number) const { return texts[static_cast<std::size_t>(number)]; }
};

// Goes through the archive. Throws as TarReader.
ShardIndex index_shard(const std::string& path);

// What an earlier run wrote about the shard, if it has not changed since and no decoder has. Throws
// nothing.
std::optional<ShardIndex> read_shard_index(FileSystem& fs, const std::string& folder,
                                           const std::string& path);
// Throws Error(io).
void write_shard_index(FileSystem& fs, const std::string& folder, const ShardIndex& index);

// The image that `path` names where a part of it is an archive, SHARD.tar/<member>; else nowhere.
// The last archives that were asked for are remembered. From several threads.
ImagePlace place_in_shard(const std::string& path);

// Whether the name is that of a shard.
bool has_shard_ending(const std::string& name);

}  // namespace onecycle
