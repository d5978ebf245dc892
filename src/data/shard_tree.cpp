// The part of a Folder that lies in shards.
#include <algorithm>
#include <filesystem>
#include <optional>

#include "core/threads.h"
#include "data/folder.h"
#include "data/layout.h"

namespace onecycle {

namespace fs = std::filesystem;

namespace {

// Puts the images of a shard into the folders that their names make, from `top` on.
void place_images(const ShardIndex& index, ShardNode& top) {
    for (const auto& [ending, count] : index.others) top.others[ending] += count;
    std::string_view last_folder;
    ShardNode* node = nullptr;
    for (std::uint32_t image = 0; image < index.images.size(); ++image) {
        const std::string_view path = index.name(index.images[image]);
        const std::size_t end = path.rfind('/') + 1;  // 0: none
        const std::string_view folder = path.substr(0, end);
        if (!node || folder != last_folder) {
            node = &top;
            for (std::size_t at = 0; at < end;) {
                const std::size_t slash = path.find('/', at);
                if (slash > at) {
                    std::unique_ptr<ShardNode>& below =
                        node->folders[std::string(path.substr(at, slash - at))];
                    if (!below) below = std::make_unique<ShardNode>();
                    node = below.get();
                }
                at = slash + 1;
            }
            last_folder = folder;
        }
        node->images.push_back({&index, image, static_cast<std::uint32_t>(end)});
    }
}

}  // namespace

bool ShardReading::labelled() const {
    return std::any_of(indices.begin(), indices.end(), [](const ShardIndex& i) { return i.labelled; });
}

void ShardReading::keep(const std::vector<bool>& changed) const {
    if (index_folder.empty()) return;
    for (std::size_t k = 0; k < indices.size(); ++k) try {
            if (changed[k]) write_shard_index(posix_file_system(), index_folder, indices[k]);
        } catch (const Error& error) {
            if (log) log(LogLevel::warning, std::string("no index of shards is kept: ") + error.what());
            return;
        }
}

void Folder::open_shards(const std::vector<std::string>& paths, const Listing& files) const {
    const auto beside = std::find_if(files.folders.begin(), files.folders.end(),
                                     [](const auto& folder) { return folder->any_image(); });
    const bool images = !files.images.empty();
    if (images || beside != files.folders.end())
        throw Error(ErrorKind::data, "cannot use dataset", path_,
                    "shards (" + fs::path(paths.front()).filename().native() + ") lie beside images (" +
                        (images ? std::string(files.images[0]) : (*beside)->name() + "/") + ")",
                    "move one of them away, or leave it out, as with --exclude '*.tar'");
    std::vector<ShardIndex> read(paths.size());
    for_each_index(paths.size(), reading_->threads, [&](std::size_t k) {
        if (const int signal = reading_->stop ? reading_->stop() : 0) throw Interrupted(signal);
        std::optional<ShardIndex> known;
        if (!reading_->index_folder.empty())
            known = read_shard_index(posix_file_system(), reading_->index_folder, paths[k]);
        read[k] = known ? std::move(*known) : index_shard(paths[k]);
        read[k].is_new = !known;
    });
    const bool whole = paths.size() == 1 && paths.front() == path_;
    reading_->folders.push_back(whole ? fs::path(path_).parent_path().native() : path_);
    std::vector<std::optional<SplitName>> sides;
    for (const std::string& path : paths) sides.push_back(split_name(fs::path(path).stem().native()));
    const bool sided =
        !whole && std::any_of(sides.begin(), sides.end(), [](const auto& s) { return s.has_value(); });
    node_ = std::make_shared<ShardNode>();
    for (std::size_t k = 0; k < paths.size(); ++k) {
        const ShardIndex& index = reading_->indices.emplace_back(std::move(read[k]));
        ShardNode* top = node_.get();
        if (sided) {
            std::string name = sides[k] ? side_word(*sides[k]) : fs::path(paths[k]).stem().native();
            if (!sides[k]) name.resize(name.find_last_not_of("0123456789-_.") + 1);
            std::unique_ptr<ShardNode>& side = top->folders[name.empty() ? "shards" : name];
            if (!side) side = std::make_unique<ShardNode>();
            top = side.get();
        }
        place_images(index, *top);
    }
}

void Folder::list_shards(Listing& out) const {
    for (auto& [name, below] : node_->folders) {
        if (is_excluded(name, out.passed_over)) continue;
        std::erase_if(out.folders, [&](const auto& folder) { return folder->name() == name; });
        out.folders.push_back(
            std::unique_ptr<Folder>(new Folder(*this, name, std::shared_ptr<ShardNode>(node_, below.get()))));
    }
    std::sort(out.folders.begin(), out.folders.end(),
              [](const auto& a, const auto& b) { return a->name() < b->name(); });
    std::vector<ShardNode::Image>& images = node_->images;
    const auto before = [](const ShardNode::Image& a, const ShardNode::Image& b) {
        return a.last() < b.last();
    };
    if (!std::is_sorted(images.begin(), images.end(), before))
        std::stable_sort(images.begin(), images.end(), before);
    for (const ShardNode::Image& image : images) {
        if (is_excluded(std::string(image.last()), out.passed_over)) continue;
        out.images.add(image.last());
        out.in_shards.push_back(image);
    }
    for (const auto& [ending, count] : node_->others) out.passed_over.other_files[ending] += count;
}

}  // namespace onecycle
