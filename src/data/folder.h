// A tree of folders with images, as people have them. What no one means as data is passed over:
// hidden names, what systems leave behind, what onecycle writes itself, and what the user excludes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace onecycle {

using FolderId =
    std::pair<std::uint64_t, std::uint64_t>;  // device and inode: the same for every spelling of a path

FolderId id_of(const std::string& path);

bool is_folder(const std::string& path);

// One folder, listed when it is first looked into. A node stays where it is: others point to it.
class Folder {
  public:
    // The top of a tree. `exclude`: globs of what is passed over, see glob_matches(); `below` is
    // where the tree hangs in the folder that they speak of.
    explicit Folder(std::string path, std::vector<std::string> exclude = {}, std::string below = "");

    const std::string& path() const { return path_; }
    const std::string& name() const { return name_; }
    const std::string& below() const { return below_; }  // the path below DATA; empty for DATA
    FolderId id() const { return id_; }

    // Both sorted by bytes. Links are followed, but not to a folder that this one lies in. Throw
    // Error(data) when the folder cannot be read.
    const std::vector<std::unique_ptr<Folder>>& folders() const { return listing().folders; }
    // Names of files whose ending is an image's, or that have no ending and begin as an image does.
    const std::vector<std::string>& images() const { return listing().images; }

    // Whether there is one in it or anywhere below. A folder that cannot be read has none.
    bool any_image() const;

    // What was passed over in this folder itself.
    struct PassedOver {
        std::map<std::string, std::size_t> other_files;  // by their endings
        std::map<std::string, std::size_t> leftovers;    // of systems, by name
        std::vector<std::string> outputs;                // of onecycle: paths
        std::vector<std::string> loops;                  // links to a folder above: paths
        std::map<std::string, std::size_t> excluded;     // by glob
    };
    const PassedOver& passed_over() const { return listing().passed_over; }

    // This folder and those below it; where `enter` is given, only those that it accepts.
    void each(const std::function<void(const Folder&)>& visit,
              const std::function<bool(const Folder&)>& enter = {}) const;
    // Only those that have been looked into.
    void each_listed(const std::function<void(const Folder&)>& visit) const;

  private:
    struct Listing {
        std::vector<std::unique_ptr<Folder>> folders;
        std::vector<std::string> images;
        PassedOver passed_over;
    };

    Folder(const Folder& parent, const std::string& name);
    const Listing& listing() const;
    void list(Listing& out) const;

    std::string path_, name_, below_;
    FolderId id_;
    std::shared_ptr<const std::vector<std::string>> exclude_;
    std::vector<FolderId> above_;  // of all folders that it lies in, and its own
    mutable std::unique_ptr<Listing> listing_;
};

// Whether a glob means what lies at this path below DATA. '*' matches any characters, '/' too, '?'
// one, [abc] one of them; case counts. A glob without '/' may also match the name alone, at any
// depth; one that starts with '/' or '**/' reads as in a .gitignore. A folder that is matched is
// left out whole.
bool glob_matches(const std::string& glob, const std::string& below);

// Whether it or a folder that it lies in is matched.
bool glob_leaves_out(const std::string& glob, const std::string& below);

// Whether the file's ending is one of an image, readable or not: its content decides.
bool has_image_ending(const std::string& name);

// The images in a folder and below it, sorted by bytes. Throws as Folder.
std::vector<std::string> images_below(const std::string& dir);

}  // namespace onecycle
