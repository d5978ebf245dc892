// The machine's file system with an ear at the door: a test hears of each call that changes
// something, may hold it up or let it fail, and may keep all of them out while it looks around.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "core/file.h"

namespace onecycle::test {

class WatchedFileSystem : public FileSystem {
  public:
    // Called before each such call, on the calling thread: 0, or the -errno that it answers
    // instead. `call` is the function's name, `path` that of the file (of the new name in a
    // rename).
    std::function<int(const std::string& call, const std::string& path)> before;

    // No call changes anything while this is held: the disk as a process killed now would leave it.
    std::mutex door;

    int open_read(const std::string& path) override { return real_.open_read(path); }
    int open_update(const std::string& path) override {
        return opened(path, change("open_update", path, [&] { return real_.open_update(path); }));
    }
    int create_exclusive(const std::string& path) override {
        return opened(path, change("create_exclusive", path, [&] { return real_.create_exclusive(path); }));
    }
    std::int64_t read_at(int file, std::span<std::byte> out, std::uint64_t offset) override {
        return real_.read_at(file, out, offset);
    }
    std::int64_t write_at(int file, std::span<const std::byte> bytes, std::uint64_t offset) override {
        return change("write_at", name(file), [&] { return real_.write_at(file, bytes, offset); });
    }
    int truncate(int file, std::uint64_t size) override {
        return change("truncate", name(file), [&] { return real_.truncate(file, size); });
    }
    int sync(int file) override {
        return change("sync", name(file), [&] { return real_.sync(file); });
    }
    int lock(int file) override { return real_.lock(file); }
    int close(int file) override { return real_.close(file); }
    int status(int file, FileStatus& out) override { return real_.status(file, out); }
    int status(const std::string& path, FileStatus& out) override { return real_.status(path, out); }
    int entry(const std::string& path, FileStatus& out) override { return real_.entry(path, out); }
    int rename(const std::string& from, const std::string& to) override {
        return change("rename", to, [&] { return real_.rename(from, to); });
    }
    int unlink(const std::string& path) override {
        return change("unlink", path, [&] { return real_.unlink(path); });
    }
    int mkdir(const std::string& path) override {
        return change("mkdir", path, [&] { return real_.mkdir(path); });
    }
    int rmdir(const std::string& path) override {
        return change("rmdir", path, [&] { return real_.rmdir(path); });
    }
    int list(const std::string& directory, std::vector<std::string>& names) override {
        return real_.list(directory, names);
    }
    int sync_directory(const std::string& path) override {
        return change("sync_directory", path, [&] { return real_.sync_directory(path); });
    }
    int writable(const std::string& path) override { return real_.writable(path); }
    int free_space(const std::string& path, std::uint64_t& bytes) override {
        return real_.free_space(path, bytes);
    }

  private:
    template <class Call>
    auto change(const char* call, const std::string& path, Call real) -> decltype(real()) {
        if (before)
            if (const int code = before(call, path)) return code;
        const std::lock_guard lock(door);
        return real();
    }
    int opened(const std::string& path, int file) {
        const std::lock_guard lock(names_mutex_);
        if (file >= 0) names_[file] = path;
        return file;
    }
    std::string name(int file) {
        const std::lock_guard lock(names_mutex_);
        return names_[file];
    }

    FileSystem& real_ = posix_file_system();
    std::mutex names_mutex_;
    std::map<int, std::string> names_;
};

}  // namespace onecycle::test
