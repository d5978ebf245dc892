// A tree of folders with images, as people have them. What no one means as data is passed over:
// hidden names, what systems leave behind, what onecycle writes itself, and what the user excludes.
// Where a folder holds shards, what lies in them stands in their place: the folders that the names
// of their members make, below a folder of the side's name where the shards' names say one.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/shard_index.h"
#include "onecycle/error.h"
#include "onecycle/log.h"

namespace onecycle {

using FolderId =
    std::pair<std::uint64_t, std::uint64_t>;  // device and inode: the same for every spelling of a path

FolderId id_of(const std::string& path);

bool is_folder(const std::string& path);

// Many names in one piece of memory.
class NameList {
  public:
    void add(std::string_view name);
    std::size_t size() const { return ends_.size(); }
    bool empty() const { return ends_.empty(); }
    std::string_view operator[](std::size_t k) const;

  private:
    std::string text_;
    std::vector<std::uint32_t> ends_;
};

// A folder cannot be listed.
class FolderError : public Error {
    using Error::Error;
};

// The folders in shards, before they are passed on as Folders.
struct ShardNode {
    struct Image {
        const ShardIndex* index = nullptr;
        std::uint32_t number = 0;  // in it
        std::uint32_t name = 0;    // where the last part of its path begins
        std::string_view path() const { return index->name(index->images[number]); }
        std::string_view last() const { return path().substr(name); }
    };
    std::map<std::string, std::unique_ptr<ShardNode>> folders;
    std::vector<Image> images;
    std::map<std::string, std::size_t> others;  // files that are no images, by their endings
};

// How the shards of a tree are read, and what they held. What it holds stays where it is.
struct ShardReading {
    std::string index_folder{};  // empty: nowhere
    int threads = 1;
    std::function<int()> stop{};                  // as DatasetOptions
    std::function<void(std::int64_t)> counted{};  // told how many images were found so far
    LogSink log{};
    std::deque<ShardIndex> indices{};
    std::vector<std::string> folders{};  // that shards lie in: paths
    std::int64_t images = 0;             // found so far, in folders too

    bool labelled() const;  // labels stand beside the images
    // Keeps the indices that `changed` names. Throws nothing.
    void keep(const std::vector<bool>& changed) const;
};

// One folder, listed when it is first looked into. A node stays where it is: others point to it.
class Folder {
  public:
    // The top of a tree, which may be a shard. `exclude`: globs of what is passed over, see
    // glob_matches(); `below` is where the tree hangs in the folder that they speak of. Without
    // `reading` shards are read each time.
    explicit Folder(std::string path, std::vector<std::string> exclude = {}, std::string below = "",
                    std::shared_ptr<ShardReading> reading = nullptr);

    const std::string& path() const { return path_; }
    const std::string& name() const { return name_; }
    const std::string& below() const { return below_; }  // the path below DATA; empty for DATA
    FolderId id() const { return id_; }
    const std::shared_ptr<ShardReading>& reading() const { return reading_; }

    // Both sorted by bytes. Links are followed, but not to a folder that this one lies in. Throw
    // FolderError(data) when the folder cannot be read, Error(data) for shards beside images and
    // those that cannot be read.
    const std::vector<std::unique_ptr<Folder>>& folders() const { return listing().folders; }
    // Names of files whose ending is an image's, or that have no ending and begin as an image does.
    const NameList& images() const { return listing().images; }
    // Where the k-th image lies in a shard; null: it is a file.
    const ShardNode::Image* in_shard(std::size_t k) const {
        return listing().in_shards.empty() ? nullptr : &listing().in_shards[k];
    }

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
        NameList images;
        std::vector<ShardNode::Image> in_shards;  // empty, or of each image
        PassedOver passed_over;
    };

    Folder(const Folder& parent, const std::string& name, std::shared_ptr<ShardNode> node = nullptr);
    const Listing& listing() const;
    void list(Listing& out) const;
    void list_files(Listing& out, std::vector<std::string>& shards) const;
    void list_shards(Listing& out) const;
    bool is_excluded(const std::string& name, PassedOver& passed_over) const;
    void open_shards(const std::vector<std::string>& names, const Listing& files) const;

    std::string path_, name_, below_;
    FolderId id_;
    std::shared_ptr<const std::vector<std::string>> exclude_;
    std::shared_ptr<ShardReading> reading_;
    std::vector<FolderId> above_;              // of all folders that it lies in, and its own
    mutable std::shared_ptr<ShardNode> node_;  // what shards put here; null: nothing
    bool in_shards_ = false;                   // there is no folder of this path
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
bool has_image_ending(std::string_view name);
// Whether the first bytes, 18 of them, are those of an image.
bool begins_as_image(std::string_view head);

// "x.tar.gz", "x.tgz", ...
bool has_compressed_shard_ending(const std::string& name);

// The images in a folder and below it, sorted by bytes. Throws as Folder.
std::vector<std::string> images_below(const std::string& dir);

}  // namespace onecycle
