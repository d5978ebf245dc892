// Images packed into shards: archives in the WebDataset convention, as other loaders read them too.
//
//   train-000000.tar, ... val-000000.tar, ...   (all-000000.tar, ... of a folder without sides)
//   with <class>/<name>.jpg and <class>/<name>.cls, the class' number as text; classes.txt has the
//   classes' names by number; pack.json says what was packed and how.
//
// Within a side the images are shuffled, so that a loader which reads shards from begin to end
// meets all classes everywhere. Equal images and options give equal bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/file.h"
#include "onecycle/dataset.h"

namespace onecycle {

struct PackOptions {
    // Above 0: images whose short side is longer are made smaller, to this many pixels (as
    // resize_bilinear() does), and stored as JPEG; the others, and all with 0, stay the bytes that
    // they are.
    int size = 0;
    int quality = 90;                          // of those JPEGs, 1 to 100
    std::uint64_t shard_bytes = 512ull << 20;  // a shard is no larger unless one image is
    int threads = 1;
    BadImages bad_images = BadImages::skip;               // of images that turn out bad when they are decoded
    std::function<int()> stop{};                          // as DatasetOptions
    std::function<void(std::int64_t images)> progress{};  // packed so far
    LogSink log{};
};

struct PackedShard {
    std::string file{};  // its name in the folder
    std::int64_t images = 0;
    std::uint64_t bytes = 0;
    std::string digest{};  // XXH3, 128 bits, of the whole file
};

// Throws Error(usage) for options out of range.
void check_pack_options(const PackOptions& options);

struct PackResult {
    std::vector<PackedShard> shards{};
    std::int64_t images = 0, kept_from_before = 0;  // of these, in shards that were there
    std::uint64_t bytes = 0;
    std::vector<BadImage> left_out{};
};

// What the shards take at most, by the sizes of the images.
std::uint64_t pack_bytes(const Dataset& dataset, const PackOptions& options);

// Packs all images of both sides into `folder`, which is made, is empty, or holds a part of the
// same: an earlier call that was interrupted goes on where it was. Each shard appears whole, and is
// read again after it was written. Throws Error(usage) for options out of range, Error(io) where
// the folder holds something else, cannot be written or has no room, Error(data) for a bad image
// under BadImages::fail, Interrupted.
PackResult pack_images(const Dataset& dataset, const std::string& folder, const PackOptions& options,
                       FileSystem& fs = posix_file_system());

// Throws Error(io) as pack_images() does for a folder that holds something else, before any work;
// Error(data) in a build that cannot write shards.
void check_pack_folder(const std::string& folder, FileSystem& fs = posix_file_system());

}  // namespace onecycle
