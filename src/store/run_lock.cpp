#include "store/run_lock.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "onecycle/error.h"

namespace onecycle {

Named named(FileSystem& fs, const std::string& path, int file) {
    FileStatus open, found;
    const int result = retried([&] { return fs.entry(path, found); });
    if (result == -ENOENT || result == -ENOTDIR) return Named::nothing;
    if (result < 0 || retried([&] { return fs.status(file, open); }) < 0) return Named::unknown;
    return open.id == found.id ? Named::that_file : Named::another_file;
}

bool is_lock(FileSystem& fs, const std::string& path) {
    constexpr std::uint64_t longest = 20;
    FileStatus status;
    if (retried([&] { return fs.entry(path, status); }) < 0 || status.type != FileStatus::Type::regular ||
        status.size > longest)
        return false;
    const std::string holder = read_file(fs, path);
    return std::ranges::all_of(holder, [](char c) { return (c >= '0' && c <= '9') || c == '\0'; });
}

namespace {

// Some network file systems have none. There the file itself is the lock.
bool has_no_locks(int code) {
    return code == -ENOSYS || code == -EOPNOTSUPP || code == -ENOLCK;
}

// Whether nobody is named in it.
bool is_free(FileSystem& fs, const std::string& path) {
    FileStatus status;
    return retried([&] { return fs.status(path, status); }) == 0 && status.size == 0;
}

}  // namespace

int try_lock(FileSystem& fs, const std::string& run, int tries) {
    const std::string path = run + '/' + lock_name;
    const int file = retried([&] { return fs.open_update(path); });
    if (file < 0) throw file_error("cannot use run folder", path, -file);
    const int locked = retried([&] { return fs.lock(file); });
    if (locked < 0 && !(has_no_locks(locked) && is_free(fs, path))) {
        fs.close(file);
        if (locked == -EWOULDBLOCK) return locked;
        if (has_no_locks(locked))
            throw Error(ErrorKind::io, "cannot lock run folder", run,
                        "its disk has no locks, and a process that is named in .lock may work in it",
                        "delete .lock if none does");
        throw file_error("cannot lock run folder", run, -locked);
    }
    // Who holds it is told for the message: failing to write it does no harm.
    const std::string holder = std::to_string(::getpid());
    fs.truncate(file, 0);
    fs.write_at(file, std::as_bytes(std::span(holder)), 0);
    // Who held it before deletes it when done, perhaps just after it was opened here.
    if (tries == 0 || named(fs, path, file) == Named::that_file) return file;
    fs.close(file);
    return try_lock(fs, run, tries - 1);
}

int take_lock(FileSystem& fs, const std::string& run) {
    const int file = try_lock(fs, run);
    if (file >= 0) return file;
    const std::string holder = read_file(fs, run + '/' + lock_name);
    throw Error(ErrorKind::io, "cannot use run folder", run, "process " + holder + " works in it",
                "wait until it ends, or start a run in another folder");
}

}  // namespace onecycle
