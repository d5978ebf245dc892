#include "data/image_cache.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <random>
#include <span>
#include <utility>

#include "core/echoed.h"

namespace onecycle {

namespace {

constexpr std::uint64_t alignment = 64;
constexpr auto between_indices = std::chrono::seconds(10);

// What a file of images begins with.
struct Start {
    std::array<char, 16> magic = {'o', 'n', 'e', 'c', 'y', 'c', 'l', 'e',
                                  ' ', 'p', 'i', 'x', 'e', 'l', 's', '\n'};
    std::uint64_t generation = 0;
    std::array<std::uint64_t, 5> unused{};
};
static_assert(sizeof(Start) == alignment);

// The absolute name of a folder, its links resolved where it is there.
std::string absolute_name(const std::string& folder) {
    std::error_code error;
    const std::filesystem::path whole = std::filesystem::weakly_canonical(folder, error);
    return error ? folder : whole.native();
}

std::string name_of(const std::string& data, const std::string& settings) {
    const std::string text = absolute_name(data) + '\0' + settings;
    XXH64_canonical_t bytes;
    XXH64_canonicalFromHash(&bytes, XXH3_64bits(text.data(), text.size()));
    std::string name;
    for (const unsigned char byte : bytes.digest) {
        name += "0123456789abcdef"[byte >> 4];
        name += "0123456789abcdef"[byte & 15];
    }
    return name;
}

std::uint64_t digest_of(const Image& image) {
    return XXH3_64bits(image.rgb.data(), image.rgb.size());
}

std::uint64_t round_up(std::uint64_t bytes) {
    return (bytes + alignment - 1) / alignment * alignment;
}

// Fills `out`; false where the file ends before or cannot be read.
bool read_fully(FileSystem& fs, int file, std::span<std::byte> out, std::uint64_t offset) {
    while (!out.empty()) {
        const std::int64_t got = retried([&] { return fs.read_at(file, out, offset); });
        if (got <= 0) return false;
        out = out.subspan(static_cast<std::size_t>(got));
        offset += static_cast<std::uint64_t>(got);
    }
    return true;
}

}  // namespace

ImageCache::ImageCache(FileSystem& fs, const std::string& folder, const std::string& data,
                       const std::string& settings)
    : fs_(fs), folder_(folder) {
    const std::string name = folder + "/" + name_of(data, settings);
    images_ = name + ".images";
    index_ = name + ".index";
    read_index();
}

ImageCache::~ImageCache() {
    write_index();
}

void ImageCache::read_index() {
    if (writing_ != Writing::yes) {
        const int file = retried([&] { return fs_.open_read(images_); });
        file_ = file < 0 ? nullptr : std::make_shared<const OpenFile>(fs_, file);
    }
    entries_.clear();
    by_path_.clear();
    const std::uint64_t before = std::exchange(generation_, 0);
    end_ = indexed_end_ = 0;
    Start start;
    if (!file_ || !read_fully(fs_, file_->descriptor, std::as_writable_bytes(std::span(&start, 1)), 0))
        return;
    const ImageIndex index = read_image_index(fs_, index_);
    if (start.magic != Start{}.magic || index.generation == 0 || start.generation != index.generation) return;
    generation_ = index.generation;
    end_ = indexed_end_ = index.end;
    if (generation_ != before) damaged_.clear();
    for (const KeptEntry& entry : index.entries) {
        if (damaged_.contains(entry.offset)) continue;
        entries_[entry.key] = entry;
        by_path_[entry.key.path] = entry.key;
    }
}

std::optional<Image> ImageCache::find(const Sample& sample, std::uint64_t rule) {
    const KeptKey key = kept_key(sample.path(), rule);
    KeptEntry entry;
    std::shared_ptr<const OpenFile> file;
    {
        const std::lock_guard lock(mutex_);
        const auto found = entries_.find(key);
        if (found == entries_.end() || sample.changed == 0 || !found->second.is_of(sample)) return {};
        entry = found->second;
        file = file_;
    }
    Image image{entry.width, entry.height, std::vector<std::uint8_t>(entry.bytes())};
    if (read_fully(fs_, file->descriptor, std::as_writable_bytes(std::span(image.rgb)), entry.offset) &&
        digest_of(image) == entry.digest)
        return image;
    const std::lock_guard lock(mutex_);
    forget(entry);
    return {};
}

void ImageCache::forget(const KeptEntry& entry) {
    damaged_.insert(entry.offset);
    const auto found = entries_.find(entry.key);
    if (found == entries_.end() || found->second.offset != entry.offset) return;
    entries_.erase(found);
    ++unwritten_;
}

bool ImageCache::contains(const Sample& sample, std::uint64_t rule) const {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(kept_key(sample.path(), rule));
    return found != entries_.end() && found->second.is_of(sample);
}

bool ImageCache::checked_before(Sample& sample) const {
    const std::lock_guard lock(mutex_);
    const auto key = by_path_.find(kept_key(sample.path(), 0).path);
    if (key == by_path_.end()) return false;
    const auto found = entries_.find(key->second);
    if (found == entries_.end() || !found->second.is_of(sample)) return false;
    sample.width = found->second.source_width;
    sample.height = found->second.source_height;
    sample.content = found->second.source_content;
    return true;
}

void ImageCache::add(const Sample& sample, std::uint64_t rule, const Image& image) {
    KeptEntry entry{.key = kept_key(sample.path(), rule),
                    .source_bytes = sample.bytes,
                    .source_changed = sample.changed,
                    .source_content = sample.content,
                    .source_width = sample.width,
                    .source_height = sample.height,
                    .offset = 0,
                    .width = image.width,
                    .height = image.height,
                    .digest = digest_of(image)};
    std::shared_ptr<const OpenFile> file;
    {
        const std::lock_guard lock(mutex_);
        if (sample.changed == 0) return;
        if (writing_ == Writing::not_tried && !begin_writing()) writing_ = Writing::no;
        const auto found = entries_.find(entry.key);  // perhaps just now, by another thread or process
        if (writing_ == Writing::no || (found != entries_.end() && found->second.is_of(sample))) return;
        entry.offset = end_;
        end_ += round_up(image.rgb.size());
        file = file_;
    }
    std::string failure;
    try {
        write_fully(fs_, file->descriptor, images_, std::as_bytes(std::span(image.rgb)), entry.offset);
    } catch (const Error& error) {
        failure = error.what();
    }
    const std::lock_guard lock(mutex_);
    if (writing_ != Writing::yes) return;  // another thread has given up meanwhile
    if (!failure.empty()) return give_up(failure);
    entries_[entry.key] = entry;
    by_path_[entry.key.path] = entry.key;
    ++unwritten_;
    if (std::chrono::steady_clock::now() > written_ + between_indices) write_index();
}

void ImageCache::expect(std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    expected_ = bytes;
}

void ImageCache::refresh() {
    const std::lock_guard lock(mutex_);
    if (writing_ == Writing::yes) return write_index();
    if (complained_) return;
    writing_ = Writing::not_tried;
    read_index();
}

std::string ImageCache::complaint() {
    const std::lock_guard lock(mutex_);
    return std::exchange(complaint_, "");
}

// False: another process writes, or it cannot be done (then there is a complaint).
bool ImageCache::begin_writing() try {
    make_directories(fs_, folder_);
    std::uint64_t free = 0;
    if (retried([&] { return fs_.free_space(folder_, free); }) == 0 && expected_ > free / 2) {
        give_up("they need " + std::to_string(expected_ >> 20) + " MiB in " + echoed(folder_) +
                ", where at most half of the free " + std::to_string(free >> 20) + " MiB is taken");
        return false;
    }
    const int descriptor = retried([&] { return fs_.open_update(images_); });
    if (descriptor < 0) throw file_error("cannot write", images_, -descriptor);
    const auto file = std::make_shared<const OpenFile>(fs_, descriptor);
    if (fs_.lock(descriptor) < 0) return false;
    file_ = file;
    writing_ = Writing::yes;
    read_index();
    std::uint64_t used = 0;
    for (const auto& [key, entry] : entries_) used += round_up(entry.bytes());
    if (generation_ == 0 || used < (end_ - sizeof(Start)) / 2) begin_anew();
    written_ = std::chrono::steady_clock::now();
    return writing_ == Writing::yes;
} catch (const Error& error) {
    give_up(error.what());
    return false;
}

// A process that still reads what was there finds other digests.
void ImageCache::begin_anew() {
    entries_.clear();
    by_path_.clear();
    damaged_.clear();
    Start start;
    std::random_device random;
    while (start.generation == 0) start.generation = std::uint64_t{random()} << 32 | random();
    const int cut = retried([&] { return fs_.truncate(file_->descriptor, 0); });
    if (cut < 0) throw file_error("cannot write", images_, -cut);
    write_fully(fs_, file_->descriptor, images_, std::as_bytes(std::span(&start, 1)), 0);
    generation_ = start.generation;
    end_ = indexed_end_ = sizeof start;
    unwritten_ = 1;
}

void ImageCache::write_index() {
    if (writing_ != Writing::yes || unwritten_ == 0) return;
    ImageIndex index{generation_, end_, {}};
    for (const auto& [key, entry] : entries_) index.entries.push_back(entry);
    std::sort(index.entries.begin(), index.entries.end(),
              [](const KeptEntry& a, const KeptEntry& b) { return a.offset < b.offset; });
    try {
        write_image_index(fs_, index_, index);
        unwritten_ = 0;
        indexed_end_ = end_;
        written_ = std::chrono::steady_clock::now();
    } catch (const Error& error) {
        give_up(error.what());
    }
}

// The disk gets back what no index knows: there may be other files that need it more.
void ImageCache::give_up(const std::string& why) {
    if (writing_ == Writing::yes) {
        std::erase_if(entries_, [&](const auto& entry) { return entry.second.offset >= indexed_end_; });
        retried([&] { return fs_.truncate(file_->descriptor, indexed_end_); });
    }
    writing_ = Writing::no;
    if (complained_) return;
    complained_ = true;
    complaint_ = "no more images are cached: " + why;
}

}  // namespace onecycle
