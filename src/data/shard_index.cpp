#include "data/shard_index.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "core/unicode.h"
#include "data/folder.h"
#include "data/image_index.h"
#include "data/shard_label.h"
#include "data/tar.h"
#include "onecycle/error.h"

namespace onecycle {

namespace {

constexpr std::size_t head_bytes = 18;                           // that tell an image
constexpr std::uint64_t most_bytes = 0xFFFFFFFF;                 // of an image in a shard
constexpr std::size_t label_bytes = 4096, json_bytes = 1 << 20;  // of a file that says a label

// A member's name in the WebDataset convention: what belongs to one sample has one key.
struct KeyedName {
    std::string key;     // up to the first dot of the last part
    std::string ending;  // the rest, in lower case: "jpg", "seg.png"
};

KeyedName keyed(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    const std::size_t dot = path.find('.', slash == std::string::npos ? 0 : slash + 1);
    if (dot == std::string::npos) return {path, ""};
    return {path.substr(0, dot), lower_case(path.substr(dot + 1))};
}

bool is_hidden(const std::string& path) {
    return path.empty() || path.front() == '.' || path.find("/.") != std::string::npos;
}

class Indexing {
  public:
    explicit Indexing(const std::string& path) : reader_(path) {
        index_.shard = std::make_shared<const Shard>(Shard{path, reader_.bytes(), reader_.changed()});
    }

    ShardIndex run() {
        for (TarMember member; reader_.next(member);) add(member);
        if (const std::uint64_t links = reader_.passed_over()) index_.others["link"] += links;
        give_labels();
        return std::move(index_);
    }

  private:
    void add(const TarMember& member) {
        if (is_hidden(member.path)) return;
        const KeyedName name = keyed(member.path);
        if (name.ending == "cls")
            labels_[name.key].add_cls(reader_.read(member, label_bytes), member.bytes > label_bytes);
        else if (name.ending == "json")
            labels_[name.key].add_json(reader_.read(member, json_bytes), member.bytes > json_bytes);
        const std::string last = member.path.substr(member.path.rfind('/') + 1);
        if (!has_image_ending(last) &&
            !(name.ending.empty() && begins_as_image(reader_.read(member, head_bytes)))) {
            if (name.ending != "cls" && name.ending != "json")
                ++index_.others[last.find('.') == std::string::npos
                                    ? ""
                                    : lower_case(last.substr(last.rfind('.') + 1))];
            return;
        }
        ShardImage image{.offset = member.offset,
                         .bytes = static_cast<std::uint32_t>(std::min(member.bytes, most_bytes)),
                         .letters = static_cast<std::uint32_t>(member.path.size()),
                         .name = index_.names.size()};
        if (member.bytes > most_bytes) image.fault = text("larger than 4 GiB");
        index_.names += member.path;
        index_.images.push_back(image);
    }

    // Of what is said of a key, its images take the label. "0001.seg.png" beside "0001.jpg" is
    // something else about the image.
    void give_labels() {
        std::unordered_set<std::string> plain;
        for (const ShardImage& image : index_.images) {
            if (labels_.empty()) break;
            const KeyedName name = keyed(std::string(index_.name(image)));
            if (name.ending.find('.') == std::string::npos && labels_.contains(name.key))
                plain.insert(name.key);
        }
        std::erase_if(index_.images, [&](ShardImage& image) {
            if (labels_.empty()) return false;
            const KeyedName name = keyed(std::string(index_.name(image)));
            const auto found = labels_.find(name.key);
            if (found == labels_.end()) return false;
            if (name.ending.find('.') != std::string::npos && plain.contains(name.key)) {
                ++index_.others[name.ending];
                return true;
            }
            const ShardLabel& label = found->second;
            if (image.fault < 0 && !label.fault.empty()) image.fault = text(label.fault);
            if (!label.text().empty()) {
                image.label = text(label.text());
                index_.labelled = true;
            }
            return false;
        });
        // Members of one name: the first counts.
        std::unordered_set<std::string_view> names;
        for (ShardImage& image : index_.images)
            if (!names.insert(index_.name(image)).second && image.fault < 0)
                image.fault = text("its name stands twice in the shard");
    }

    std::int32_t text(const std::string& words) {
        const auto [found, is_new] = numbers_.emplace(words, static_cast<std::int32_t>(index_.texts.size()));
        if (is_new) index_.texts.push_back(words);
        return found->second;
    }

    TarReader reader_;
    ShardIndex index_;
    std::unordered_map<std::string, ShardLabel> labels_;  // by key
    std::unordered_map<std::string, std::int32_t> numbers_;
};

std::uint64_t text_hash(std::string_view bytes) {
    return XXH3_64bits(bytes.data(), bytes.size());
}

// The first bytes of the index' file; the images follow, then the names, then all texts.
struct ShardHeader {
    std::array<char, 16> magic = {'o', 'n', 'e', 'c', 'y', 'c', 'l',  'e',
                                  ' ', 's', 'h', 'a', 'r', 'd', '\n', 1};
    std::uint64_t makers = 0;
    std::uint64_t shard_bytes = 0;
    std::int64_t shard_changed = 0;
    std::uint64_t images = 0, names = 0, texts = 0;  // how many; bytes; bytes
    std::uint64_t labelled = 0;
    std::uint64_t rest = 0;    // XXH3 of all that follows
    std::uint64_t header = 0;  // XXH3 of all before
};
static_assert(sizeof(ShardHeader) == 88);
static_assert(sizeof(ShardImage) == 48);

std::uint64_t header_hash(const ShardHeader& header) {
    return XXH3_64bits(&header, offsetof(ShardHeader, header));
}

std::string absolute(const std::string& path) {
    std::error_code unknown;
    const std::filesystem::path whole = std::filesystem::weakly_canonical(path, unknown);
    return unknown ? path : whole.native();
}

std::string index_file(const std::string& folder, const std::string& shard) {
    std::string name;
    for (std::uint64_t value = text_hash(absolute(shard)), k = 0; k < 16; ++k, value >>= 4)
        name += "0123456789abcdef"[value & 15];
    return folder + "/" + name + ".shard";
}

// Each ends with a zero byte.
std::string texts_of(const ShardIndex& index) {
    std::string all = std::to_string(index.texts.size());
    all.push_back('\0');
    for (const std::string& text : index.texts) all.append(text).push_back('\0');
    for (const auto& [ending, count] : index.others) {
        all.append(ending).push_back('\0');
        all.append(std::to_string(count)).push_back('\0');
    }
    return all;
}

bool take_texts(std::string_view all, ShardIndex& index) {
    std::vector<std::string> texts;
    while (!all.empty()) {
        const std::size_t end = all.find('\0');
        if (end == std::string_view::npos) return false;
        texts.emplace_back(all.substr(0, end));
        all.remove_prefix(end + 1);
    }
    if (texts.empty()) return false;
    const std::size_t own = std::stoul("0" + texts[0]);
    if (own + 1 > texts.size() || (texts.size() - own) % 2 == 0) return false;
    index.texts.assign(texts.begin() + 1, texts.begin() + 1 + static_cast<std::ptrdiff_t>(own));
    for (std::size_t k = own + 1; k < texts.size(); k += 2)
        index.others[texts[k]] = std::stoul("0" + texts[k + 1]);
    return true;
}

std::optional<Shard> shard_now(const std::string& path) try {
    const OpenImage file(path);
    return Shard{path, file.bytes(), file.changed()};
} catch (const std::exception&) {
    return {};
}

}  // namespace

ShardIndex index_shard(const std::string& path) {
    return Indexing(path).run();
}

std::optional<ShardIndex> read_shard_index(FileSystem& fs, const std::string& folder,
                                           const std::string& path) try {
    const std::string file_name = index_file(folder, path);
    FileStatus there;
    if (retried([&] { return fs.status(file_name, there); }) != 0) return {};
    const auto shard = shard_now(path);
    const InputFile file(fs, file_name);
    ShardHeader header;
    if (!shard || file.size() < sizeof header) return {};
    file.read_at(std::as_writable_bytes(std::span(&header, 1)), 0);
    const std::uint64_t rest = file.size() - sizeof header;
    if (header.magic != ShardHeader{}.magic || header.header != header_hash(header) ||
        header.makers != image_makers() || header.shard_bytes != shard->bytes ||
        header.shard_changed != shard->changed || header.images > rest / sizeof(ShardImage) ||
        header.names > rest || header.texts > rest ||
        header.images * sizeof(ShardImage) + header.names + header.texts != rest)
        return {};
    ShardIndex index{.shard = std::make_shared<const Shard>(*shard),
                     .images = std::vector<ShardImage>(header.images),
                     .names = std::string(header.names, '\0'),
                     .labelled = header.labelled != 0};
    std::string texts(header.texts, '\0');
    std::uint64_t at = sizeof header;
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    for (const std::span<std::byte> part :
         {std::as_writable_bytes(std::span(index.images)), std::as_writable_bytes(std::span(index.names)),
          std::as_writable_bytes(std::span(texts))}) {
        file.read_at(part, at);
        at += part.size();
        XXH3_64bits_update(&state, part.data(), part.size());
    }
    if (XXH3_64bits_digest(&state) != header.rest || !take_texts(texts, index)) return {};
    const auto is_text = [&](std::int32_t k) { return k < static_cast<std::int64_t>(index.texts.size()); };
    for (const ShardImage& image : index.images)
        if (image.name > header.names || image.letters > header.names - image.name || !is_text(image.label) ||
            !is_text(image.fault) || image.offset > shard->bytes || image.bytes > shard->bytes - image.offset)
            return {};
    return index;
} catch (const std::exception&) {
    return {};
}

void write_shard_index(FileSystem& fs, const std::string& folder, const ShardIndex& index) {
    const std::string texts = texts_of(index);
    ShardHeader header{.makers = image_makers(),
                       .shard_bytes = index.shard->bytes,
                       .shard_changed = index.shard->changed,
                       .images = index.images.size(),
                       .names = index.names.size(),
                       .texts = texts.size(),
                       .labelled = index.labelled};
    const std::array parts = {std::as_bytes(std::span(index.images)), std::as_bytes(std::span(index.names)),
                              std::as_bytes(std::span(texts))};
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    for (const std::span<const std::byte> part : parts) XXH3_64bits_update(&state, part.data(), part.size());
    header.rest = XXH3_64bits_digest(&state);
    header.header = header_hash(header);
    make_directories(fs, folder);
    AtomicFile file(fs, index_file(folder, index.shard->path));
    file.write_at(std::as_bytes(std::span(&header, 1)), 0);
    std::uint64_t at = sizeof header;
    for (const std::span<const std::byte> part : parts) {
        file.write_at(part, at);
        at += part.size();
    }
    file.commit();
}

ImagePlace place_in_shard(const std::string& path) {
    struct Known {
        std::shared_ptr<const Shard> shard;
        std::unordered_map<std::string, ImagePlace> places;
    };
    static std::mutex mutex;
    static std::vector<std::shared_ptr<const Known>> remembered;  // the latest last
    constexpr std::size_t most = 4;

    for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
        const std::string archive = path.substr(0, slash);
        std::error_code unknown;
        if (!has_shard_ending(archive) || !std::filesystem::is_regular_file(archive, unknown)) continue;
        const auto now = shard_now(archive);
        if (!now) return {};
        const std::lock_guard lock(mutex);
        const auto found = std::find_if(remembered.begin(), remembered.end(), [&](const auto& known) {
            return known->shard->path == archive && known->shard->bytes == now->bytes &&
                   known->shard->changed == now->changed;
        });
        std::shared_ptr<const Known> known;
        if (found != remembered.end()) {
            known = *found;
        } else {
            const ShardIndex index = index_shard(archive);
            auto made = std::make_shared<Known>();
            made->shard = index.shard;
            ImagePlaces places;
            const ImageHome& home = places.home({.prefix = archive + "/", .shard = index.shard});
            for (const ShardImage& image : index.images)
                made->places.emplace(index.name(image),
                                     places.add(home, index.name(image), image.offset, image.bytes));
            known = made;
            if (remembered.size() == most) remembered.erase(remembered.begin());
            remembered.push_back(known);
        }
        const auto member = known->places.find(path.substr(slash + 1));
        return member == known->places.end() ? ImagePlace() : member->second;
    }
    return {};
}

bool has_shard_ending(const std::string& name) {
    return name.size() > 4 && lower_case(name.substr(name.size() - 4)) == ".tar";
}

}  // namespace onecycle
