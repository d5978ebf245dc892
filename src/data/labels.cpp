#include "data/labels.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <regex>
#include <unordered_map>

#include "core/unicode.h"
#include "data/label_table.h"
#include "data/shard_classes.h"
#include "onecycle/error.h"

namespace onecycle {

namespace fs = std::filesystem;

namespace {

using Side = FoundImage::Side;

std::string file_name(const std::string& path) {
    return path.substr(path.rfind('/') + 1);
}

std::string without_ending(const std::string& path) {
    const std::size_t dot = path.rfind('.'), slash = path.rfind('/');
    const bool in_name = dot != std::string::npos && (slash == std::string::npos || dot > slash);
    return in_name ? path.substr(0, dot) : path;
}

// The images of a tree by what a table may call them.
class NamedImages {
  public:
    explicit NamedImages(const std::vector<FoundImage>& images) : images_(images) {
        for (std::size_t k = 0; k < images.size(); ++k) {
            const std::string path = nfc(images[k].below());
            for (const std::string& key : {path, without_ending(path)}) by_path_[key].push_back(k);
            for (const std::string& key : {file_name(path), without_ending(file_name(path))})
                by_name_[key].push_back(k);
        }
    }

    // Those that `file` may mean: the path with or without an ending; else, for a bare name, the
    // image of that name wherever it lies.
    std::vector<std::size_t> find(const std::string& file) const {
        const std::string key = nfc(file);
        for (const auto* keys : {&by_path_, &by_name_}) {
            if (keys == &by_name_ && key.find('/') != std::string::npos) break;
            const auto found = keys->find(key);
            if (found == keys->end()) continue;
            // A whole name means itself, also where it is another one without its ending.
            for (const std::size_t k : found->second)
                if (nfc(images_[k].below()) == key) return {k};
            std::vector<std::size_t> all = found->second;
            all.erase(std::unique(all.begin(), all.end()), all.end());
            return all;
        }
        return {};
    }

  private:
    const std::vector<FoundImage>& images_;
    std::unordered_map<std::string, std::vector<std::size_t>> by_path_, by_name_;
};

// A table's path as one below DATA ("./" and DATA's own absolute path are cut off), or as it is.
std::string path_below(const std::string& file, const fs::path& data) {
    fs::path path = fs::path(file).lexically_normal();
    if (path.is_absolute()) {
        std::error_code error;
        const fs::path relative = fs::weakly_canonical(path, error).lexically_relative(data);
        if (!error && !relative.empty() && !relative.native().starts_with("..")) path = relative;
    }
    return path.native();
}

}  // namespace

struct Labels::Table : LabelTable {};

struct Labels::Pattern {
    std::string text;
    std::regex expression;
};

Labels::Labels(const std::string& table, const std::string& pattern) {
    if (!table.empty() && !pattern.empty())
        throw Error(ErrorKind::usage, "bad option", "--labels with --label-from", "both say the labels",
                    "leave one of them out");
    if (!table.empty()) table_ = std::make_unique<Table>(Table{read_label_table(table)});
    if (pattern.empty()) return;
    const auto refuse = [&](const std::string& why, const std::string& fix) {
        throw Error(ErrorKind::usage, "bad option", "--label-from " + pattern, why, fix);
    };
    try {
        pattern_ = std::make_unique<Pattern>(Pattern{pattern, std::regex(pattern, std::regex::ECMAScript)});
    } catch (const std::regex_error& error) {
        refuse("no regular expression (ECMAScript): " + std::string(error.what()),
               "for example '^(.+)_[0-9]+[.]jpg$'");
    }
    if (pattern_->expression.mark_count() == 0)
        refuse("it has no group", "put parentheses around the label, as in '^(.+)_[0-9]+[.]jpg$'");
}

Labels::~Labels() = default;

int Texts::number(std::string_view text) {
    if (last_ >= 0 && *texts_[static_cast<std::size_t>(last_)] == text) return last_;  // as most often
    const auto [found, is_new] = numbers_.emplace(text, static_cast<int>(texts_.size()));
    if (is_new) texts_.push_back(&found->first);
    return last_ = found->second;
}

void Labels::read_shards(const std::vector<std::string>& folders) {
    if (!by_folder()) return;
    by_shard_ = true;
    for (const std::string& folder : folders) {
        const std::string file = (folder.empty() ? "" : folder + "/") + "classes.txt";
        std::error_code unknown;
        if (!class_names_.empty() || !fs::is_regular_file(file, unknown)) continue;
        class_names_ = read_shard_classes(file);
        class_names_file_ = file;
    }
}

bool Labels::by_folder() const {
    return !table_ && !pattern_ && !by_shard_;
}
bool Labels::by_table() const {
    return table_ != nullptr;
}
bool Labels::table_has_splits() const {
    return table_ && table_->has_splits;
}
std::string Labels::why_none() const {
    if (by_shard_) return "neither beside them in the shard nor in a folder";
    return table_ ? "not in " + table_->path : "not matched by --label-from " + pattern_->text;
}

namespace {

std::string_view folder_of(const FoundImage& image) {
    const std::string_view name = image.sample.name();
    const std::size_t slash = name.find('/');
    return slash == std::string_view::npos ? std::string_view{} : name.substr(0, slash);
}

void label_by_folder(FoundImages& images) {
    for (FoundImage& image : images.list)
        if (const std::string_view folder = folder_of(image); !folder.empty())
            image.label = images.texts.number(folder);
}

void label_by_name(FoundImages& images, const std::regex& expression) {
    for (FoundImage& image : images.list) {
        const std::string name = file_name(image.sample.path());
        std::smatch match;
        if (!std::regex_search(name, match, expression)) continue;
        // The first group that took part: "(cat)|(dog)" has one for each.
        for (std::size_t group = 1; group < match.size() && image.label < 0; ++group)
            if (match[group].length() > 0) image.label = images.texts.number(match[group].str());
    }
}

// The image that only the table knows, or what is wrong with it.
FoundImage image_elsewhere(const std::string& file, const fs::path& data, Texts& texts) {
    const fs::path path = fs::path(file).is_absolute() ? fs::path(file) : data / file;
    FoundImage image{.sample = {.place = ImagePlace(path.native(), file)}};
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) image.fault = texts.number("no such file");
    return image;
}

}  // namespace

void Labels::assign(FoundImages& found_images, const std::string& data,
                    const std::function<bool(const std::string&)>& excluded) const {
    if (by_folder()) return label_by_folder(found_images);
    if (by_shard_) return label_by_shard(found_images, class_names_, class_names_file_);
    if (pattern_) return label_by_name(found_images, pattern_->expression);
    std::vector<FoundImage>& images = found_images.list;
    Texts& texts = found_images.texts;

    const auto refuse = [&](const LabelRow& row, const std::string& why, const std::string& fix) {
        throw Error(ErrorKind::data, "cannot use labels", table_->path + " line " + std::to_string(row.line),
                    why, fix);
    };
    const bool has_valid = std::any_of(table_->rows.begin(), table_->rows.end(),
                                       [](const LabelRow& row) { return row.split == SplitKind::valid; });
    std::error_code error;
    const fs::path top = fs::canonical(data, error);
    const std::size_t in_tree = images.size();
    std::unordered_map<std::string, const LabelRow*> rows_of;  // by path
    std::vector<FoundImage> added;
    {
        const NamedImages index(images);
        for (const LabelRow& row : table_->rows) {
            std::string file = path_below(row.file, top);
            std::vector<std::size_t> found = index.find(file);
            if (found.empty() && file.find('\\') != std::string::npos) {  // as Windows writes paths
                std::string other = file;
                std::replace(other.begin(), other.end(), '\\', '/');
                found = index.find(other);
                if (!found.empty()) file = other;
            }
            if (found.size() > 1) {  // the training side's, when only one of them lies there
                std::vector<std::size_t> in_training = found;
                std::erase_if(in_training, [&](std::size_t k) { return images[k].side != Side::train; });
                if (in_training.size() == 1) found = in_training;
            }
            if (found.size() > 1)
                refuse(row,
                       "'" + row.file + "' may be " + images[found[0]].below() + " or " +
                           images[found[1]].below(),
                       "write the path below DATA, with its ending");
            if (found.empty() && excluded(file)) continue;
            FoundImage elsewhere;
            if (found.empty()) elsewhere = image_elsewhere(file, data, texts);
            FoundImage& image = found.empty() ? elsewhere : images[found[0]];
            const auto [entry, first] = rows_of.emplace(image.sample.path(), &row);
            const LabelRow& before = *entry->second;
            if (!first) {
                if (nfc(before.label) != nfc(row.label) || before.split != row.split)
                    refuse(row,
                           "'" + row.file + "' is '" + row.label + "' here, but '" + before.label +
                               "' in line " + std::to_string(before.line),
                           "an image has one label and one split: remove one of the rows");
                continue;
            }
            image.label = texts.number(row.label);
            if (table_->has_splits)
                image.side = row.split == SplitKind::train                 ? Side::train
                             : row.split == SplitKind::valid || !has_valid ? Side::valid
                                                                           : Side::none;
            if (found.empty()) added.push_back(std::move(elsewhere));
        }
    }
    for (FoundImage& image : added) images.push_back(std::move(image));
    if (std::all_of(images.begin() + static_cast<std::ptrdiff_t>(in_tree), images.end(),
                    [](const FoundImage& i) { return i.fault >= 0; }) &&
        added.size() == rows_of.size())
        refuse(table_->rows.front(), "no file of the table is there ('" + table_->rows.front().file + "')",
               "write paths below DATA, which is " + data);
}

}  // namespace onecycle
