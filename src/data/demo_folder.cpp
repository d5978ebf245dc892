#include "data/demo_folder.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <span>
#include <utility>

namespace onecycle {

namespace {

constexpr const char* cannot_write = "cannot write demo data";

bool holds(const std::vector<std::string>& names, const std::string& name) {
    return std::ranges::find(names, name) != names.end();
}

std::vector<std::string> names_in(FileSystem& fs, const std::string& folder) {
    std::vector<std::string> names;
    const int result = retried([&] { return fs.list(folder, names); });
    if (result < 0 && result != -ENOENT && result != -ENOTDIR)
        throw file_error(cannot_write, folder, -result);
    return names;
}

std::string image_name(int number, bool png) {
    char name[16];
    std::snprintf(name, sizeof name, "%04d.%s", number, png ? "png" : "jpg");
    return name;
}

bool is_image_name(std::string_view name) {
    return name.size() == 8 && name.find_first_not_of("0123456789") == 4 &&
           (name.ends_with(".jpg") || name.ends_with(".png"));
}

void check(const std::string& path, int result) {
    if (result < 0) throw file_error(cannot_write, path, -result);
}

// A folder at `path` that is no link to one.
void make_own_folder(FileSystem& fs, const std::string& path) {
    const int made = retried([&] { return fs.mkdir(path); });
    if (made != -EEXIST) return check(path, made);
    FileStatus status;
    check(path, retried([&] { return fs.entry(path, status); }));
    if (status.type != FileStatus::Type::directory) check(path, -ENOTDIR);
}

}  // namespace

DemoFolder::DemoFolder(FileSystem& fs, std::string path, const std::string& form,
                       std::vector<std::string> classes)
    : fs_(fs), path_(std::move(path)), classes_(std::move(classes)) {
    while (path_.size() > 1 && path_.ends_with('/')) path_.pop_back();
    staging_ = path_ + "/.onecycle-demo-" + form;
    try {
        begin();
    } catch (...) {
        undo();
        throw;
    }
}

void DemoFolder::begin() {
    const std::string staging_name = staging_.substr(staging_.rfind('/') + 1);
    const std::vector<std::string> names = names_in(fs_, path_);
    const bool begun = holds(names, staging_name);
    for (const std::string& name : names) {
        if (begun && name == staging_name) continue;
        if (!begun || !holds(classes_, name))
            throw Error(ErrorKind::io, cannot_write, path_, "the folder is not empty", "name a new folder");
        done_before_.push_back(name);
    }
    FileStatus status;
    for (std::string at = path_; retried([&] { return fs_.status(at, status); }) == -ENOENT;
         at = parent_directory(at))
        made_.push_back(at);
    make_directories(fs_, path_);
    make_own_folder(fs_, staging_);
    const std::string lock = staging_ + "/lock";
    const int file = retried([&] { return fs_.open_update(lock); });
    check(lock, file);
    const int locked = retried([&] { return fs_.lock(file); });
    if (locked < 0) {
        fs_.close(file);
        made_.clear();  // the other's by now
        if (locked == -EWOULDBLOCK)
            throw Error(ErrorKind::io, cannot_write, path_, "another onecycle fills it",
                        "wait until it has ended, or name a new folder");
        check(lock, locked);
    }
    lock_ = file;
}

DemoFolder::~DemoFolder() {
    if (!committed_) undo();
}

bool DemoFolder::has(const std::string& class_name) const {
    return holds(done_before_, class_name);
}

void DemoFolder::write(const std::string& class_name, int number, bool png, std::string_view bytes) {
    make_own_folder(fs_, staged(class_name));
    const std::string path = staged(class_name) + "/" + image_name(number, png);
    retried([&] { return fs_.unlink(path); });  // half an image of a process that was killed
    const int file = retried([&] { return fs_.create_exclusive(path); });
    check(path, file);
    try {
        write_fully(fs_, file, path, std::as_bytes(std::span(bytes)), 0);
    } catch (...) {
        fs_.close(file);
        throw;
    }
    // An interrupted close has closed the file. Nobody waits for the disk: what a power loss takes
    // can be made again.
    if (const int closed = fs_.close(file); closed != -EINTR) check(path, closed);
}

void DemoFolder::commit() {
    for (const std::string& name : classes_) {
        if (has(name)) continue;
        const std::string to = path_ + "/" + name;
        check(to, retried([&] { return fs_.rename(staged(name), to); }));
        moved_.push_back(name);
    }
    committed_ = true;  // what is left is empty
    undo();
}

// Where an earlier call had moved a class already, the hidden folder stays: without it nobody could
// tell that the folder is not whole.
void DemoFolder::undo() noexcept try {
    if (lock_ >= 0) {
        if (!committed_)
            for (const std::string& name : moved_)
                retried([&] { return fs_.rename(path_ + "/" + name, staged(name)); });
        std::vector<std::string> names;
        for (const std::string& class_name : classes_) {
            FileStatus status;
            if (retried([&] { return fs_.entry(staged(class_name), status); }) < 0 ||
                status.type != FileStatus::Type::directory ||
                retried([&] { return fs_.list(staged(class_name), names); }) < 0)
                continue;
            for (const std::string& name : names)
                if (is_image_name(name)) retried([&] { return fs_.unlink(staged(class_name) + "/" + name); });
            retried([&] { return fs_.rmdir(staged(class_name)); });
        }
        if (committed_ || done_before_.empty()) retried([&] { return fs_.unlink(staging_ + "/lock"); });
        fs_.close(std::exchange(lock_, -1));
    }
    if (committed_ || done_before_.empty()) retried([&] { return fs_.rmdir(staging_); });
    if (!committed_)
        for (const std::string& folder : made_) retried([&] { return fs_.rmdir(folder); });
    made_.clear();
} catch (const std::exception&) {
    // Without memory for names, what was made stays: the same command goes on with it.
}

}  // namespace onecycle
