#include "data/image_place.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <system_error>

#include "data/codecs.h"
#include "data/shard_index.h"

namespace onecycle {

ImagePlace::ImagePlace(const std::string& path, const std::string& name) {
    ImagePlaces places;
    ImageHome home{.prefix = path, .skip = name.size()};
    if (path.ends_with(name)) {
        home.prefix.resize(path.size() - name.size());
        home.skip = 0;
    }
    *this = places.add(places.home(std::move(home)), name);
}

std::string ImagePlace::path() const {
    if (!record_) return "";
    const ImageHome& home = *record_->home;
    return home.prefix + std::string(record_->name().substr(home.skip));
}

std::string_view ImagePlace::name() const {
    return record_ ? record_->name() : std::string_view{};
}

std::string below_data(const ImagePlace& place) {
    const ImagePlace::Record* record = place.record();
    return record ? record->home->below + std::string(record->name()) : "";
}

const ImageHome& ImagePlaces::home(ImageHome home) {
    return memory_->homes.emplace_back(std::move(home));
}

ImagePlace ImagePlaces::add(const ImageHome& home, std::string_view name, std::uint64_t offset,
                            std::uint32_t bytes) {
    constexpr std::size_t chunk = std::size_t{64} << 10, alignment = alignof(ImagePlace::Record);
    const std::size_t size =
        (sizeof(ImagePlace::Record) + name.size() + 1 + alignment - 1) / alignment * alignment;
    if (size > left_) {
        left_ = std::max(size, memory_->chunks.empty() ? std::size_t{256} : chunk);
        memory_->chunks.push_back(std::make_unique_for_overwrite<std::byte[]>(left_));
        free_ = memory_->chunks.back().get();
    }
    auto* record =
        new (free_) ImagePlace::Record{&home, offset, bytes, static_cast<std::uint32_t>(name.size())};
    char* text = reinterpret_cast<char*>(record + 1);
    std::memcpy(text, name.data(), name.size());
    text[name.size()] = 0;
    free_ += size;
    left_ -= size;
    return ImagePlace(std::shared_ptr<const ImagePlace::Record>(memory_, record));
}

namespace {

[[noreturn]] void refuse_file(int code) {
    throw DecodeError(std::generic_category().message(code));
}

}  // namespace

int OpenImage::open(const std::string& path) {
    // O_NONBLOCK: opening a fifo must not wait for its writer.
    file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file_ < 0) return errno;
    struct stat status {};
    const int code = ::fstat(file_, &status) == 0 ? 0 : errno;
    if (code != 0 || !S_ISREG(status.st_mode)) {
        ::close(file_);
        file_ = -1;
        if (code == 0) throw DecodeError("not a regular file");
        return code;
    }
    bytes_ = static_cast<std::uint64_t>(status.st_size);
    changed_ = std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
    return 0;
}

void OpenImage::open_member(const ImagePlace::Record& record) {
    const Shard& shard = *record.home->shard;
    if (const int code = open(shard.path)) refuse_file(code);
    if (bytes_ != shard.bytes) {
        ::close(file_);
        file_ = -1;
        throw DecodeError("its shard has changed since the list of files was made");
    }
    offset_ = record.offset;
    bytes_ = record.bytes;
}

OpenImage::OpenImage(const ImagePlace& place) {
    const ImagePlace::Record* record = place.record();
    if (!record) refuse_file(ENOENT);
    if (record->home->shard)
        open_member(*record);
    else if (const int code = open(place.path()))
        refuse_file(code);
}

OpenImage::OpenImage(const std::string& path) {
    const int code = open(path);
    if (code == 0) return;
    if (code != ENOTDIR) refuse_file(code);
    ImagePlace member;
    try {
        member = place_in_shard(path);
    } catch (const Error& error) {
        throw DecodeError(error.what());
    }
    if (!member.record()) refuse_file(code == ENOTDIR ? ENOENT : code);
    open_member(*member.record());
}

OpenImage::~OpenImage() {
    if (file_ >= 0) ::close(file_);
}

std::vector<std::uint8_t> OpenImage::read(std::size_t most) const {
    check_file_size(bytes_, most);
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(bytes_));
    std::size_t have = 0;
    while (have < bytes.size()) {
        const ssize_t got =
            ::pread(file_, bytes.data() + have, bytes.size() - have, static_cast<off_t>(offset_ + have));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) refuse_file(errno);
        if (got == 0) break;  // cut short since it was opened
        have += static_cast<std::size_t>(got);
    }
    bytes.resize(have);
    return bytes;
}

}  // namespace onecycle
