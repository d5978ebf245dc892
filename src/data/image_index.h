// The index of a file of kept images: which image of which source lies where.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/file.h"
#include "onecycle/dataset.h"

namespace onecycle {

// A source by its absolute path, and what was made of it (KeptRule::digest()).
struct KeptKey {
    std::uint64_t path = 0;  // XXH3 of it
    std::uint64_t rule = 0;
    bool operator==(const KeptKey&) const = default;
};
KeptKey kept_key(const std::string& path, std::uint64_t rule);

// As it stands in the file. Every number is fixed in size, and there is no padding.
struct KeptEntry {
    KeptKey key;
    std::uint64_t source_bytes = 0;
    std::int64_t source_changed = 0;
    std::uint64_t source_content = 0;                  // content_hash() of it
    std::int32_t source_width = 0, source_height = 0;  // in pixels, upright
    std::uint64_t offset = 0;                          // in the file of images
    std::int32_t width = 0, height = 0;
    std::uint64_t digest = 0;  // XXH3 of the pixels

    std::uint64_t bytes() const { return std::uint64_t{3} * static_cast<std::uint64_t>(width) * height; }
    // Whether the source is still what the image was made of.
    bool is_of(const Sample& sample) const {
        return source_bytes == sample.bytes && source_changed == sample.changed &&
               (sample.content == 0 || source_content == sample.content);
    }
};

struct ImageIndex {
    std::uint64_t generation = 0;  // of the file of images that it belongs to
    std::uint64_t end = 0;         // of the last image in that file
    std::vector<KeptEntry> entries{};
};

// Equal for builds whose decoders read and make the same images.
std::uint64_t image_makers();

// What image_makers() says goes into the index: images that another decoder made are not those of
// this one. An index that is missing, damaged, or was written by another version is empty, of
// generation 0. Throws nothing.
ImageIndex read_image_index(FileSystem& fs, const std::string& path);
// Atomically. Throws Error(io).
void write_image_index(FileSystem& fs, const std::string& path, const ImageIndex& index);

}  // namespace onecycle
