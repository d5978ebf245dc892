#include "data/folder.h"

#include <dirent.h>
#include <fnmatch.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>

#include "core/unicode.h"
#include "onecycle/error.h"

namespace onecycle {

namespace fs = std::filesystem;

namespace {

// Also those that no decoder here reads: such a file is an image, and it is said why it cannot be
// used.
constexpr std::array<std::string_view, 29> image_endings = {
    "jpg",  "jpeg", "jpe",  "jfif", "jfi", "jif",  "pjpeg", "pjp", "mpo", "png",
    "apng", "bmp",  "dib",  "webp", "tif", "tiff", "gif",   "ppm", "pgm", "pnm",
    "pbm",  "avif", "heic", "heif", "hif", "jp2",  "jxl",   "psd", "tga"};

// What file systems, desktops, archives and network storage leave in folders, beside hidden names;
// in lower case, for case does not count.
constexpr std::array<std::string_view, 22> leftovers = {"@eadir",
                                                        "@synoeastream",
                                                        "@synoresource",
                                                        "@__thumb",
                                                        "@recycle",
                                                        "@recently-snapshot",
                                                        "#recycle",
                                                        "#snapshot",
                                                        "~snapshot",
                                                        "__macosx",
                                                        "__pycache__",
                                                        "$recycle.bin",
                                                        "system volume information",
                                                        "lost+found",
                                                        "lost.dir",
                                                        "thumbs.db",
                                                        "ehthumbs.db",
                                                        "ehthumbs_vista.db",
                                                        "desktop.ini",
                                                        "network trash folder",
                                                        "temporary items",
                                                        "thevolumesettingsfolder"};

// Of a name, in lower case.
std::string ending_of(std::string_view name) {
    const std::size_t dot = name.rfind('.');
    return dot == std::string_view::npos ? "" : lower_case(std::string(name.substr(dot + 1)));
}

bool is_leftover(const std::string& name) {
    if (name.starts_with(":2e")) return true;  // netatalk's spelling of a hidden name
    constexpr std::size_t longest = 25;
    if (name.size() > longest) return false;
    return std::find(leftovers.begin(), leftovers.end(), lower_case(name)) != leftovers.end();
}

std::string head_of(const std::string& path) {
    std::string head(18, '\0');
    std::error_code unknown;
    if (!fs::is_regular_file(path, unknown)) return "";  // reading a pipe would wait
    std::ifstream file(path, std::ios::binary);
    file.read(head.data(), static_cast<std::streamsize>(head.size()));
    return head.substr(0, static_cast<std::size_t>(file.gcount()));
}

bool is_there(const std::string& path) {
    std::error_code unknown;
    return fs::exists(path, unknown);
}

// A folder that find, train or finetune made, told by what it holds.
bool is_run(const std::string& dir) {
    if (is_there(dir + "/find.json") || is_there(dir + "/sweep.json")) return true;
    return is_there(dir + "/config.json") &&
           (is_there(dir + "/checkpoints") || is_there(dir + "/steps.csv") || is_there(dir + "/find"));
}

// A run, or the folder that runs are put in by default: nothing but runs, and what has just begun.
bool is_output(const std::string& dir, const std::string& name) {
    if (is_run(dir)) return true;
    if (name != "runs") return false;
    std::error_code error;
    for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
        if (it->path().filename().native().front() == '.') continue;
        std::error_code unknown;
        if (!it->is_directory(unknown)) return false;
        const std::string inside = it->path().native();
        if (!is_run(inside) && !fs::is_empty(inside, unknown) && !is_there(inside + "/.lock")) return false;
    }
    return !error;
}

// The folder and all that it lies in: a link to one of them would bring every class into one.
std::vector<FolderId> ids_up_from(const std::string& dir) {
    std::vector<FolderId> ids;
    std::error_code error;
    fs::path path = fs::canonical(dir, error);
    for (; !error && path.has_relative_path(); path = path.parent_path()) ids.push_back(id_of(path));
    ids.push_back(id_of("/"));
    return ids;
}

}  // namespace

FolderId id_of(const std::string& path) {
    struct stat status {};
    ::stat(path.c_str(), &status);
    return {status.st_dev, status.st_ino};
}

bool is_folder(const std::string& path) {
    std::error_code error;
    return fs::is_directory(path, error);
}

bool has_image_ending(std::string_view name) {
    const std::size_t dot = name.rfind('.');
    if (dot == std::string_view::npos || name.size() - dot > 6) return false;
    char small[5] = {};
    const std::size_t letters = name.size() - dot - 1;
    for (std::size_t k = 0; k < letters; ++k) {
        const char c = name[dot + 1 + k];
        small[k] = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return std::find(image_endings.begin(), image_endings.end(), std::string_view(small, letters)) !=
           image_endings.end();
}

bool has_compressed_shard_ending(const std::string& name) {
    const std::string small = lower_case(name);
    if (small.ends_with(".tgz") || small.ends_with(".txz") || small.ends_with(".tbz2")) return true;
    const std::size_t dot = small.rfind('.');
    return dot != std::string::npos && has_shard_ending(small.substr(0, dot));
}

bool begins_as_image(std::string_view start) {
    char head[18] = {};
    std::memcpy(head, start.data(), std::min(start.size(), sizeof head));
    const auto begins = [&](std::string_view magic, std::size_t at = 0) {
        return std::memcmp(head + at, magic.data(), magic.size()) == 0;
    };
    using namespace std::string_view_literals;
    const bool bitmap = begins("BM") && begins("\0\0\0"sv, 15);  // its header's size is below 256
    const bool netpbm = head[0] == 'P' && head[1] >= '1' && head[1] <= '6' &&
                        (head[2] == '\n' || head[2] == ' ' || head[2] == '\r' || head[2] == '\t');
    constexpr std::array brands = {"avif"sv, "avis"sv, "heic"sv, "heix"sv, "hevc"sv, "mif1"sv, "msf1"sv};
    const bool heif =
        begins("ftyp", 4) &&
        std::any_of(brands.begin(), brands.end(), [&](std::string_view brand) { return begins(brand, 8); });
    return begins("\xFF\xD8\xFF") || begins("\x89PNG\r\n\x1A\n") || begins("GIF8") ||
           (begins("RIFF") && begins("WEBP", 8)) || begins("II*\0"sv) || begins("MM\0*"sv) || bitmap ||
           netpbm || heif;
}

void NameList::add(std::string_view name) {
    text_ += name;
    ends_.push_back(static_cast<std::uint32_t>(text_.size()));
}

std::string_view NameList::operator[](std::size_t k) const {
    const std::size_t begin = k == 0 ? 0 : ends_[k - 1];
    return std::string_view(text_).substr(begin, ends_[k] - begin);
}

bool glob_matches(const std::string& given, const std::string& below) {
    std::string glob = nfc(given);
    if (glob.starts_with("./")) glob.erase(0, 2);
    while (glob.size() > 1 && glob.ends_with('/')) glob.pop_back();
    const std::string path = nfc(below);
    const auto matches = [&](const std::string& text) {
        return ::fnmatch(glob.c_str(), text.c_str(), 0) == 0;
    };
    if (matches(path) || matches("/" + path)) return true;
    return glob.find('/') == std::string::npos && matches(path.substr(path.rfind('/') + 1));
}

bool glob_leaves_out(const std::string& glob, const std::string& below) {
    for (std::size_t slash = below.find('/'); slash != std::string::npos; slash = below.find('/', slash + 1))
        if (glob_matches(glob, below.substr(0, slash))) return true;
    return glob_matches(glob, below);
}

Folder::Folder(std::string path, std::vector<std::string> exclude, std::string below,
               std::shared_ptr<ShardReading> reading)
    : path_(std::move(path)),
      name_(fs::path(path_).filename().native()),
      below_(std::move(below)),
      id_(id_of(path_)),
      exclude_(std::make_shared<const std::vector<std::string>>(std::move(exclude))),
      reading_(reading ? std::move(reading) : std::make_shared<ShardReading>()),
      above_(ids_up_from(path_)),
      in_shards_(!is_folder(path_)) {}

Folder::Folder(const Folder& parent, const std::string& name, std::shared_ptr<ShardNode> node)
    : path_(parent.path_ + "/" + name),
      name_(name),
      below_(parent.below_.empty() ? name : parent.below_ + "/" + name),
      exclude_(parent.exclude_),
      reading_(parent.reading_),
      above_(parent.above_),
      node_(std::move(node)),
      in_shards_(node_ != nullptr) {
    id_ = in_shards_ ? FolderId{~std::uint64_t{0}, reinterpret_cast<std::uintptr_t>(node_.get())}
                     : id_of(path_);
    above_.push_back(id_);
}

const Folder::Listing& Folder::listing() const {
    if (!listing_) {
        auto listing = std::make_unique<Listing>();
        list(*listing);
        reading_->images += static_cast<std::int64_t>(listing->images.size());
        if (reading_->counted) reading_->counted(reading_->images);
        listing_ = std::move(listing);
    }
    return *listing_;
}

bool Folder::is_excluded(const std::string& name, PassedOver& passed_over) const {
    if (is_leftover(name)) {
        ++passed_over.leftovers[name];
        return true;
    }
    if (exclude_->empty()) return false;
    const std::string below = below_.empty() ? name : below_ + "/" + name;
    const auto glob = std::find_if(exclude_->begin(), exclude_->end(),
                                   [&](const std::string& g) { return glob_matches(g, below); });
    if (glob == exclude_->end()) return false;
    ++passed_over.excluded[*glob];
    return true;
}

void Folder::list(Listing& out) const {
    if (in_shards_ && !node_) open_shards({path_}, out);
    if (!in_shards_) {
        std::vector<std::string> shards;
        list_files(out, shards);
        if (!shards.empty()) open_shards(shards, out);
    }
    if (node_) list_shards(out);
}

void Folder::list_files(Listing& out, std::vector<std::string>& shards) const {
    std::vector<std::pair<std::string, bool>> entries;  // name, whether it is a folder
    const std::unique_ptr<DIR, int (*)(DIR*)> handle(::opendir(path_.c_str()), ::closedir);
    int code = handle ? 0 : errno;
    while (handle) {
        errno = 0;
        const dirent* entry = ::readdir(handle.get());
        if (!entry) {
            code = errno;
            break;
        }
        if (entry->d_name[0] == '.') continue;
        bool folder = entry->d_type == DT_DIR;
        std::error_code unknown;  // a broken link: reading it will say so
        if (entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN)
            folder = fs::is_directory(path_ + "/" + entry->d_name, unknown);
        entries.emplace_back(entry->d_name, folder);
    }
    if (code != 0)
        throw FolderError(ErrorKind::data, "cannot read folder", path_, std::generic_category().message(code),
                          "check its permissions");
    std::sort(entries.begin(), entries.end());

    std::vector<std::string> compressed;
    for (const auto& [name, folder] : entries) {
        if (is_excluded(name, out.passed_over)) continue;
        if (folder) {
            const std::string path = path_ + "/" + name;
            if (std::find(above_.begin(), above_.end(), id_of(path)) != above_.end())
                out.passed_over.loops.push_back(path);
            else if (is_output(path, name))
                out.passed_over.outputs.push_back(path);
            else
                out.folders.push_back(std::unique_ptr<Folder>(new Folder(*this, name)));
        } else if (has_image_ending(name)) {
            out.images.add(name);
        } else if (has_shard_ending(name)) {
            shards.push_back(path_ + "/" + name);
        } else if (const std::string ending = ending_of(name);
                   ending.empty() && begins_as_image(head_of(path_ + "/" + name))) {
            out.images.add(name);
        } else {
            ++out.passed_over.other_files[ending];
            if (has_compressed_shard_ending(name)) compressed.push_back(path_ + "/" + name);
        }
    }
    // Then nothing else can be meant: reading them says why not.
    if (shards.empty() && out.images.empty() && out.folders.empty()) shards = compressed;
}

bool Folder::any_image() const {
    try {
        if (!images().empty()) return true;
        return std::any_of(folders().begin(), folders().end(), [](const auto& f) { return f->any_image(); });
    } catch (const FolderError&) {
        return false;
    }
}

void Folder::each(const std::function<void(const Folder&)>& visit,
                  const std::function<bool(const Folder&)>& enter) const {
    if (enter && !enter(*this)) return;
    visit(*this);
    for (const auto& folder : folders()) folder->each(visit, enter);
}

void Folder::each_listed(const std::function<void(const Folder&)>& visit) const {
    if (!listing_) return;
    visit(*this);
    for (const auto& folder : listing_->folders) folder->each_listed(visit);
}

std::vector<std::string> images_below(const std::string& dir) {
    std::vector<std::string> paths;
    Folder(dir).each([&](const Folder& folder) {
        for (std::size_t k = 0; k < folder.images().size(); ++k) {
            const ShardNode::Image* const image = folder.in_shard(k);
            paths.push_back(image ? image->index->shard->path + "/" + std::string(image->path())
                                  : folder.path() + "/" + std::string(folder.images()[k]));
        }
    });
    std::sort(paths.begin(), paths.end());
    return paths;
}

}  // namespace onecycle
