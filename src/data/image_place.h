// Where the bytes of an image lie, and the names that many images share: a folder, or a shard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "onecycle/dataset.h"
#include "onecycle/image.h"

namespace onecycle {

// An archive of images as it was when its index was made.
struct Shard {
    std::string path{};
    std::uint64_t bytes = 0;
    std::int64_t changed = 0;  // nanoseconds since 1970
};

// What all images of a side that lie in one folder tree or shard have in common.
struct ImageHome {
    std::string prefix{};                  // a path is this and the name
    std::size_t skip = 0;                  // so many letters of the name are not in the path
    std::string below{};                   // what stands before the name in the path below DATA
    std::shared_ptr<const Shard> shard{};  // null: each image is a file
};

// Its name follows it in memory, ended by a zero byte.
struct ImagePlace::Record {
    const ImageHome* home = nullptr;
    std::uint64_t offset = 0;  // in the shard
    std::uint32_t bytes = 0;   // likewise
    std::uint32_t letters = 0;

    std::string_view name() const { return {reinterpret_cast<const char*>(this + 1), letters}; }
};

// The path below DATA.
std::string below_data(const ImagePlace& place);

// Makes places whose names lie side by side. For one thread.
class ImagePlaces {
  public:
    // Stays where it is, as long as any of its places.
    const ImageHome& home(ImageHome home);
    ImagePlace add(const ImageHome& home, std::string_view name, std::uint64_t offset = 0,
                   std::uint32_t bytes = 0);

  private:
    struct Memory {
        std::deque<ImageHome> homes;
        std::vector<std::unique_ptr<std::byte[]>> chunks;
    };
    std::shared_ptr<Memory> memory_ = std::make_shared<Memory>();
    std::byte* free_ = nullptr;
    std::size_t left_ = 0;
};

// An image's file, or the shard that it lies in, open for reading. Throws DecodeError: it cannot be
// opened, is no regular file, is a shard that has another size than when its index was made.
class OpenImage {
  public:
    explicit OpenImage(const ImagePlace& place);
    // A file, or SHARD.tar/<member>.
    explicit OpenImage(const std::string& path);
    ~OpenImage();
    OpenImage(const OpenImage&) = delete;
    OpenImage& operator=(const OpenImage&) = delete;

    std::uint64_t bytes() const { return bytes_; }
    std::int64_t changed() const { return changed_; }
    // Fewer than bytes() where the file was cut short meanwhile. Throws DecodeError above `most`.
    std::vector<std::uint8_t> read(std::size_t most) const;

  private:
    int open(const std::string& path);  // 0, or an errno
    void open_member(const ImagePlace::Record& record);

    int file_ = -1;
    std::uint64_t offset_ = 0, bytes_ = 0;
    std::int64_t changed_ = 0;
};

}  // namespace onecycle
