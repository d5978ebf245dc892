#include "data/folder_scan.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "onecycle/error.h"

namespace onecycle {

namespace fs = std::filesystem;

namespace {

constexpr std::array<std::string_view, 20> supported = {"jpg",  "jpeg", "jpe",  "jfif", "pjpeg", "mpo", "png",
                                                        "apng", "bmp",  "webp", "tif",  "tiff",  "gif", "ppm",
                                                        "pgm",  "pbm",  "pnm",  "avif", "heic",  "heif"};
constexpr std::array<std::string_view, 5> not_supported = {"jp2", "jxl", "tga", "psd", "exr"};

std::string lower_extension(const std::string& name) {
    const std::size_t dot = name.rfind('.');
    if (dot == std::string::npos) return "";
    std::string extension = name.substr(dot + 1);
    for (char& c : extension)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return extension;
}

template <typename List>
bool contains(const List& list, const std::string& extension) {
    return std::find(list.begin(), list.end(), extension) != list.end();
}

struct Entry {
    std::string name;
    bool folder = false;
    std::uint64_t bytes = 0;
};

// What is not hidden in `dir`, sorted by bytes; links are followed.
std::vector<Entry> entries_of(const std::string& dir) {
    std::error_code error;
    std::vector<Entry> entries;
    for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
        Entry entry{it->path().filename().native(), false, 0};
        if (entry.name.front() == '.') continue;
        std::error_code unknown;  // a broken link: reading it will say so
        entry.folder = it->is_directory(unknown);
        if (!entry.folder) {
            const std::uintmax_t size = it->file_size(unknown);
            entry.bytes = unknown ? 0 : size;
        }
        entries.push_back(std::move(entry));
    }
    if (error)
        throw Error(ErrorKind::data, "cannot read folder", dir, error.message(), "check its permissions");
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
    return entries;
}

using FolderId = std::pair<std::uint64_t, std::uint64_t>;

FolderId id_of(const std::string& dir) {
    struct stat status {};
    ::stat(dir.c_str(), &status);
    return {status.st_dev, status.st_ino};
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

class ClassScan {
  public:
    ClassScan(FolderScan& result, ClassFolder& into, std::vector<FolderId> above)
        : result_(result), into_(into), above_(std::move(above)) {}

    void visit(const std::string& dir, const std::string& name) {
        const FolderId id = id_of(dir);
        if (std::find(above_.begin(), above_.end(), id) != above_.end()) {
            result_.loops.push_back(dir);
            return;
        }
        above_.push_back(id);
        for (const Entry& entry : entries_of(dir)) {
            const std::string path = dir + "/" + entry.name, relative = name + "/" + entry.name;
            const std::string extension = lower_extension(entry.name);
            if (entry.folder)
                visit(path, relative);
            else if (contains(supported, extension))
                into_.images.push_back({path, relative, 0, entry.bytes});
            else if (contains(not_supported, extension))
                result_.unsupported.push_back(
                    {path, "." + extension + " is not supported; convert it to JPEG or PNG"});
            else
                ++result_.ignored[extension];
        }
        above_.pop_back();
    }

  private:
    FolderScan& result_;
    ClassFolder& into_;
    std::vector<FolderId> above_;
};

}  // namespace

FolderScan scan_class_folders(const std::string& dir) {
    FolderScan result;
    const std::vector<FolderId> above = ids_up_from(dir);
    for (const Entry& entry : entries_of(dir)) {
        if (entry.folder) {
            ClassFolder folder{entry.name, {}};
            ClassScan(result, folder, above).visit(dir + "/" + entry.name, entry.name);
            std::sort(folder.images.begin(), folder.images.end(),
                      [](const Sample& a, const Sample& b) { return a.name < b.name; });
            result.classes.push_back(std::move(folder));
        } else {
            const std::string extension = lower_extension(entry.name);
            if (contains(supported, extension) || contains(not_supported, extension))
                ++result.loose_images;
            else
                ++result.ignored[extension];
        }
    }
    return result;
}

std::vector<std::string> images_below(const std::string& dir) {
    FolderScan scan;
    ClassFolder all;
    ClassScan(scan, all, ids_up_from(dir + "/..")).visit(dir, "");
    std::vector<std::string> paths;
    for (Sample& sample : all.images) paths.push_back(std::move(sample.path));
    for (BadImage& image : scan.unsupported) paths.push_back(std::move(image.path));
    std::sort(paths.begin(), paths.end());
    return paths;
}

bool is_folder(const std::string& path) {
    std::error_code error;
    return fs::is_directory(path, error);
}

std::vector<std::string> subfolders(const std::string& path) {
    std::vector<std::string> names;
    for (Entry& entry : entries_of(path))
        if (entry.folder) names.push_back(std::move(entry.name));
    return names;
}

}  // namespace onecycle
