// Kept images in a file, for the next start: one file of pixels and one index.
//
// FOLDER/<16 hexadecimal digits>.images and .index, named after the folder of sources and the
// settings. The pixels are only ever appended to, by the one process that holds the file's lock;
// the index is replaced as a whole. Readers trust nothing: an entry counts if its source still has
// the size and time that it was made of, and its pixels their digest. So two runs may use one
// cache, a run may be killed at any time, and what is damaged is made again.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "data/image_index.h"
#include "onecycle/image.h"

namespace onecycle {

class ImageCache {
  public:
    // Looks into the cache of the images in the folder `data` with these `settings` (any text).
    // Writes nothing yet, and throws nothing.
    ImageCache(FileSystem& fs, const std::string& folder, const std::string& data,
               const std::string& settings);
    ~ImageCache();  // writes the index
    ImageCache(const ImageCache&) = delete;
    ImageCache& operator=(const ImageCache&) = delete;

    // These may be called from several threads.

    // What was kept of a source; nothing where it was not, or is damaged. Sources whose time nobody
    // has looked at (Sample::changed is 0) are neither found nor kept.
    std::optional<Image> find(const Sample& sample, std::uint64_t rule);
    bool contains(const Sample& sample, std::uint64_t rule) const;
    // Keeps an image where that is possible. Throws nothing: see complaint().
    void add(const Sample& sample, std::uint64_t rule, const Image& image);

    // Whether an earlier run read the source to its end and made an image of it, and it has not
    // changed since. Then fills in its size in pixels and what it holds.
    bool checked_before(Sample& sample) const;

    // Bytes that will be added: where they take more than half of what is free on the disk, nothing
    // is.
    void expect(std::uint64_t bytes);
    // Writes the index, or takes in what another process has written. For the begin of an epoch.
    void refresh();

    // Why nothing is added, one line, the first time it is asked; then empty.
    std::string complaint();

    const std::string& images_file() const { return images_; }

  private:
    struct Hash {
        std::size_t operator()(const KeptKey& key) const { return key.path ^ key.rule * 0x9E3779B97F4A7C15u; }
    };
    enum class Writing { not_tried, yes, no };

    // Closed when the last reader has done with it.
    struct OpenFile {
        FileSystem& fs;
        int descriptor;
        ~OpenFile() { fs.close(descriptor); }
    };

    // All with the lock held.
    void read_index();
    bool begin_writing();
    void begin_anew();
    void write_index();
    void give_up(const std::string& why);
    void forget(const KeptEntry& entry);

    FileSystem& fs_;
    std::string folder_, images_, index_;

    mutable std::mutex mutex_;  // of all below; held for no work on pixels
    std::unordered_map<KeptKey, KeptEntry, Hash> entries_;
    std::unordered_map<std::uint64_t, KeptKey> by_path_;  // any entry of a source
    std::unordered_set<std::uint64_t> damaged_;           // offsets of images found so
    std::uint64_t generation_ = 0, end_ = 0, expected_ = 0;
    std::uint64_t indexed_end_ = 0;  // of what the index on the disk knows
    std::shared_ptr<const OpenFile> file_;
    Writing writing_ = Writing::not_tried;
    std::size_t unwritten_ = 0;  // changes since the last index
    std::chrono::steady_clock::time_point written_{};
    std::string complaint_;
    bool complained_ = false;
};

}  // namespace onecycle
