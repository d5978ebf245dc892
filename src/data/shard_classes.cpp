#include "data/shard_classes.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/file.h"
#include "core/unicode.h"
#include "data/shard_label.h"
#include "onecycle/error.h"

namespace onecycle {

namespace {

std::string_view folder_in_side(const FoundImage& image) {
    const std::string_view name = image.sample.name();
    const std::size_t slash = name.find('/');
    return slash == std::string_view::npos ? std::string_view{} : name.substr(0, slash);
}

std::string in_words(const std::string& label, const std::string& name) {
    return "'" + label + "'" + (name == label ? "" : " ('" + name + "')");
}

// The class of each label that is a number, where a list or the folders name it.
class ClassNumbers {
  public:
    ClassNumbers(const FoundImages& images, const std::vector<std::string>& names) : names_(names) {
        if (names.empty()) take_folders(images);
    }

    // Empty: nothing names it.
    std::string name(const std::string& label) const {
        if (!is_class_number(label)) return "";
        if (!names_.empty()) {
            const std::size_t number = std::stoul(label);
            return number < names_.size() ? names_[number] : "";
        }
        const auto found = folders_.find(label);
        return found == folders_.end() ? "" : found->second;
    }

  private:
    // Most images of a number lie in the folder that names it, and no two numbers have one folder.
    void take_folders(const FoundImages& images) {
        std::map<int, std::map<std::string_view, std::size_t>> counts;  // by label
        for (const FoundImage& image : images.list)
            if (image.beside >= 0) ++counts[image.beside][folder_in_side(image)];
        std::set<std::string_view> taken;
        std::map<std::string, std::string> folders;
        for (const auto& [label, of_label] : counts) {
            const auto most =
                std::max_element(of_label.begin(), of_label.end(),
                                 [](const auto& a, const auto& b) { return a.second < b.second; });
            if (!is_class_number(images.texts[label]) || most->first.empty() ||
                !taken.insert(most->first).second)
                return;
            std::size_t all = 0;
            for (const auto& [folder, count] : of_label) all += count;
            if (2 * most->second <= all) return;
            folders[images.texts[label]] = most->first;
        }
        if (folders.size() > 1) folders_ = std::move(folders);
    }

    const std::vector<std::string>& names_;
    std::map<std::string, std::string> folders_;
};

}  // namespace

std::vector<std::string> read_shard_classes(const std::string& path) {
    const std::string text = read_file(posix_file_system(), path, ErrorKind::data);
    std::vector<std::string> names;
    std::set<std::string> known;
    const auto refuse = [&](std::size_t line, const std::string& why) {
        throw Error(ErrorKind::data, "cannot use class names", path + " line " + std::to_string(line), why,
                    "write a name a line, in the order of the classes' numbers, or remove the file");
    };
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        std::string name = text.substr(at, end - at);
        if (name.ends_with('\r')) name.pop_back();
        at = end + 1;
        if (name.empty()) refuse(names.size() + 1, "the line is empty");
        if (!known.insert(name).second) refuse(names.size() + 1, "the name stands there twice");
        names.push_back(std::move(name));
    }
    return names;
}

void label_by_shard(FoundImages& images, const std::vector<std::string>& names, const std::string& file) {
    const ClassNumbers numbers(images, names);
    std::set<std::string, std::less<>> classes;
    for (const FoundImage& image : images.list)
        if (image.beside >= 0) {
            const std::string& label = images.texts[image.beside];
            const std::string name = numbers.name(label);
            classes.insert(name.empty() ? label : name);
        }
    for (FoundImage& image : images.list) {
        const std::string folder(folder_in_side(image));
        if (image.beside < 0) {
            if (!folder.empty())
                image.label = images.texts.number(folder);
            else if (image.fault < 0)
                image.fault = images.texts.number("no label: neither key.cls nor key.json says one");
            continue;
        }
        const std::string label = images.texts[image.beside];
        std::string name = numbers.name(label);
        if (name.empty() && !names.empty() && is_class_number(label) && image.fault < 0)
            image.fault = images.texts.number("its label is '" + label + "', but " + file + " has " +
                                              std::to_string(names.size()) + " names");
        if (name.empty()) name = label;
        image.label = images.texts.number(name);
        if (nfc(folder) != nfc(name) && classes.contains(folder) && image.fault < 0)
            image.fault = images.texts.number("its label is " + in_words(label, name) + ", its folder '" +
                                              folder + "'");
    }
}

}  // namespace onecycle
