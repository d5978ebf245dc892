// A file system in memory that fails where a test says, and that can lose power between any two
// calls.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/file.h"

namespace onecycle::test {

class SimulatedFileSystem : public FileSystem {
  public:
    // What goes wrong, at which of the fallible calls (from 1; 0: never).
    struct Fault {
        std::int64_t at_call = 0;
        int code = 0;  // an errno; 0: a short read or write
        bool for_ever = false;
    };

    Fault fault;
    std::int64_t power_loss_at_call = 0;  // from this call on, nothing changes any more and all fails
    std::int64_t calls = 0;               // fallible calls so far
    std::uint64_t space = std::uint64_t{1} << 40;

    SimulatedFileSystem() { now_["."] = durable_["."] = std::make_shared<Node>(true); }

    // The disk as it may be found after a power loss now: what was synced, plus an arbitrary part
    // of what was not, both of the files' bytes and of the folders' entries.
    void lose_power(std::uint64_t seed) {
        std::mt19937_64 random(seed);
        const auto survives = [&] { return random() % 2 == 0; };
        std::set<Node*> done;
        for (const auto& entry : everything()) {
            Node& node = *entry.second;
            if (!done.insert(&node).second) continue;
            for (const Write& write : node.pending) {
                if (survives()) write(node.durable);
            }
            node.pending.clear();
            node.now = node.durable;
        }
        for (const EntryChange& change : pending_) {
            if (survives()) change.apply(durable_);
        }
        pending_.clear();
        std::erase_if(durable_, [&](const auto& entry) { return !has_folders(durable_, entry.first); });
        now_ = durable_;
        open_.clear();
        fault = {};
        power_loss_at_call = 0;
        calls = 0;
    }

    // For tests: contents, names, damage and deletion, without faults.
    std::vector<std::byte>& contents(const std::string& path) { return now_.at(clean(path))->now; }
    bool has(const std::string& path) const { return now_.count(clean(path)) > 0; }
    std::vector<std::string> paths() const {
        std::vector<std::string> all;
        for (const auto& entry : now_) all.push_back(entry.first);
        return all;
    }

    void remove_tree(const std::string& path) {
        for (Entries* entries : {&now_, &durable_}) {
            std::erase_if(*entries, [&](const auto& entry) {
                return entry.first == path || entry.first.starts_with(path + '/');
            });
        }
    }

    int open_read(const std::string& path) override {
        if (const int code = enter()) return code;
        return has(path) ? opened(now_[clean(path)]) : -ENOENT;
    }
    int open_update(const std::string& path) override {
        if (const int code = enter(true)) return code;
        if (!has(path)) link(path, std::make_shared<Node>(false));
        return opened(now_[clean(path)]);
    }
    int create_exclusive(const std::string& path) override {
        if (const int code = enter(true)) return code;
        if (has(path)) return -EEXIST;
        if (!has(parent_directory(path))) return -ENOENT;
        link(path, std::make_shared<Node>(false));
        return opened(now_[clean(path)]);
    }
    std::int64_t read_at(int file, std::span<std::byte> out, std::uint64_t offset) override {
        bool cut_short = false;
        if (const int code = enter(false, &cut_short)) return code;
        const std::vector<std::byte>& bytes = open_.at(file)->now;
        if (offset >= bytes.size()) return 0;
        std::size_t count = std::min<std::size_t>(out.size(), bytes.size() - offset);
        if (cut_short) count = (count + 1) / 2;
        std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), count, out.begin());
        return static_cast<std::int64_t>(count);
    }
    std::int64_t write_at(int file, std::span<const std::byte> bytes, std::uint64_t offset) override {
        bool cut_short = false;
        if (const int code = enter(true, &cut_short)) return code;
        std::size_t count = bytes.size();
        if (cut_short) count = (count + 1) / 2;
        change(*open_.at(file),
               [offset, part = std::vector<std::byte>(
                            bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count))](auto& all) {
                   if (all.size() < offset + part.size()) all.resize(offset + part.size());
                   std::copy(part.begin(), part.end(), all.begin() + static_cast<std::ptrdiff_t>(offset));
               });
        return static_cast<std::int64_t>(count);
    }
    int truncate(int file, std::uint64_t size) override {
        if (const int code = enter(true)) return code;
        change(*open_.at(file), [size](auto& all) { all.resize(size); });
        return 0;
    }
    int sync(int file) override {
        if (const int code = enter(true)) return code;
        Node& node = *open_.at(file);
        node.durable = node.now;
        node.pending.clear();
        return 0;
    }
    int lock(int) override { return enter(); }
    int close(int file) override {
        const int code = enter(true);
        open_.erase(file);
        return code;
    }
    int status(int file, FileStatus& out) override {
        if (const int code = enter()) return code;
        out = describe(*open_.at(file));
        return 0;
    }
    int status(const std::string& path, FileStatus& out) override {
        if (const int code = enter()) return code;
        if (!has(path)) return -ENOENT;
        out = describe(*now_[clean(path)]);
        return 0;
    }
    int entry(const std::string& path, FileStatus& out) override { return status(path, out); }  // no links
    int rename(const std::string& from, const std::string& to) override {
        if (const int code = enter(true)) return code;
        if (!has(from)) return -ENOENT;
        record({parent_directory(clean(from)),
                [node = now_[clean(from)], from = clean(from), to = clean(to)](Entries& entries) {
                    entries.erase(from);
                    entries[to] = node;
                }});
        return 0;
    }
    int unlink(const std::string& path) override {
        if (const int code = enter()) return code;
        if (!has(path)) return -ENOENT;
        record(
            {parent_directory(clean(path)), [path = clean(path)](Entries& entries) { entries.erase(path); }});
        return 0;
    }
    int mkdir(const std::string& path) override {
        if (const int code = enter(true)) return code;
        if (has(path)) return -EEXIST;
        if (!has(parent_directory(path))) return -ENOENT;
        link(path, std::make_shared<Node>(true));
        return 0;
    }
    int rmdir(const std::string& path) override {
        if (const int code = enter(true)) return code;
        if (!has(path)) return -ENOENT;
        for (const auto& entry : now_)
            if (entry.first != clean(path) && parent_directory(entry.first) == clean(path)) return -ENOTEMPTY;
        record(
            {parent_directory(clean(path)), [path = clean(path)](Entries& entries) { entries.erase(path); }});
        return 0;
    }
    int list(const std::string& directory, std::vector<std::string>& names) override {
        if (const int code = enter()) return code;
        if (!has(directory)) return -ENOENT;
        names.clear();
        for (const auto& entry : now_) {
            if (entry.first != "." && parent_directory(entry.first) == clean(directory)) {
                names.push_back(entry.first.substr(entry.first.rfind('/') + 1));
            }
        }
        return 0;
    }
    int sync_directory(const std::string& path) override {
        if (const int code = enter(true)) return code;
        std::erase_if(pending_, [&](const EntryChange& change) {
            if (change.directory != clean(path)) return false;
            change.apply(durable_);
            return true;
        });
        return 0;
    }
    int writable(const std::string&) override { return enter(); }
    int free_space(const std::string&, std::uint64_t& bytes) override {
        bytes = space;
        return enter();
    }

  private:
    using Write = std::function<void(std::vector<std::byte>&)>;
    struct Node {
        explicit Node(bool directory_) : directory(directory_) {}
        bool directory;
        std::vector<std::byte> now, durable;
        std::vector<Write> pending;  // what `now` has and `durable` has not
    };
    using Entries = std::map<std::string, std::shared_ptr<Node>>;  // by full path
    struct EntryChange {
        std::string directory;
        std::function<void(Entries&)> apply;
    };

    static std::string clean(std::string path) {
        while (path.size() > 1 && path.back() == '/') path.pop_back();
        for (std::size_t at; (at = path.find("//")) != std::string::npos;) path.erase(at, 1);
        return path;
    }

    // Counts a call; returns the -errno it fails with, or 0. A full disk fails only calls that need
    // space.
    int enter(bool needs_space = false, bool* cut_short = nullptr) {
        ++calls;
        if (power_loss_at_call > 0 && calls >= power_loss_at_call) return -EIO;
        const bool hit =
            fault.at_call > 0 && (fault.for_ever ? calls >= fault.at_call : calls == fault.at_call);
        if (!hit) return 0;
        if (fault.code == 0) {
            if (cut_short != nullptr) *cut_short = true;
            return 0;
        }
        if ((fault.code == ENOSPC || fault.code == EDQUOT) && !needs_space) return 0;
        return -fault.code;
    }

    int opened(std::shared_ptr<Node> node) {
        open_[++last_file_] = std::move(node);
        return last_file_;
    }
    static FileStatus describe(const Node& node) {
        FileStatus status;
        status.type = node.directory ? FileStatus::Type::directory : FileStatus::Type::regular;
        status.size = node.now.size();
        status.id.number = reinterpret_cast<std::uintptr_t>(&node);
        return status;
    }
    void link(const std::string& path, std::shared_ptr<Node> node) {
        record({parent_directory(clean(path)),
                [path = clean(path), node](Entries& entries) { entries[path] = node; }});
    }
    void record(EntryChange change) {
        change.apply(now_);
        pending_.push_back(std::move(change));
    }
    static void change(Node& node, Write write) {
        write(node.now);
        node.pending.push_back(std::move(write));
    }
    std::vector<std::pair<std::string, std::shared_ptr<Node>>> everything() {
        std::vector<std::pair<std::string, std::shared_ptr<Node>>> all(durable_.begin(), durable_.end());
        all.insert(all.end(), now_.begin(), now_.end());
        return all;
    }
    static bool has_folders(const Entries& entries, const std::string& path) {
        for (std::string folder = path; folder != ".";) {
            folder = parent_directory(folder);
            if (entries.count(folder) == 0) return false;
        }
        return true;
    }

    Entries now_, durable_;
    std::vector<EntryChange> pending_;
    std::map<int, std::shared_ptr<Node>> open_;
    int last_file_ = 0;
};

}  // namespace onecycle::test
