#include "data/image_index.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>
#include <filesystem>
#include <span>

#include "onecycle/image.h"

namespace onecycle {

namespace {

struct Header {
    std::array<char, 16> magic = {'o', 'n', 'e', 'c', 'y', 'c', 'l',  'e',
                                  ' ', 'i', 'n', 'd', 'e', 'x', '\n', 1};
    std::uint64_t makers = 0;      // XXH3 of what reads and makes images
    std::uint64_t generation = 0;  // and what else ImageIndex has
    std::uint64_t end = 0;
    std::uint64_t count = 0;
    std::uint64_t entries = 0;  // XXH3 of them
    std::uint64_t header = 0;   // XXH3 of all before
};
static_assert(sizeof(Header) == 64);
static_assert(sizeof(KeptEntry) == 72);

std::uint64_t hash(const void* bytes, std::size_t size) {
    return XXH3_64bits(bytes, size);
}

std::uint64_t hash_of(const Header& header) {
    return hash(&header, offsetof(Header, header));
}

}  // namespace

std::uint64_t image_makers() {
    const std::string text = jpeg_decoder() + "\n" + png_decoder() + "\n" + webp_decoder() + "\n" +
                             tiff_decoder() + "\n" + heif_decoder();
    return hash(text.data(), text.size());
}

KeptKey kept_key(const std::string& path, std::uint64_t rule) {
    std::error_code unknown;
    const std::string whole = std::filesystem::absolute(path, unknown).lexically_normal().native();
    return {hash(whole.data(), whole.size()), rule};
}

ImageIndex read_image_index(FileSystem& fs, const std::string& path) try {
    const InputFile file(fs, path);
    Header header;
    if (file.size() < sizeof header) return {};
    file.read_at(std::as_writable_bytes(std::span(&header, 1)), 0);
    if (header.magic != Header{}.magic || header.header != hash_of(header) ||
        header.makers != image_makers() || header.count != (file.size() - sizeof header) / sizeof(KeptEntry))
        return {};
    ImageIndex index{header.generation, header.end, std::vector<KeptEntry>(header.count)};
    file.read_at(std::as_writable_bytes(std::span(index.entries)), sizeof header);
    if (header.entries != hash(index.entries.data(), index.entries.size() * sizeof(KeptEntry))) return {};
    return index;
} catch (const Error&) {
    return {};
}

void write_image_index(FileSystem& fs, const std::string& path, const ImageIndex& index) {
    Header header;
    header.makers = image_makers();
    header.generation = index.generation;
    header.end = index.end;
    header.count = index.entries.size();
    header.entries = hash(index.entries.data(), index.entries.size() * sizeof(KeptEntry));
    header.header = hash_of(header);
    AtomicFile file(fs, path);
    file.write_at(std::as_bytes(std::span(&header, 1)), 0);
    file.write_at(std::as_bytes(std::span(index.entries)), sizeof header);
    file.commit();
}

}  // namespace onecycle
