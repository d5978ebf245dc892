#include "store/run_lock.h"

#include <unistd.h>

#include <cerrno>

#include "onecycle/error.h"

namespace onecycle {

bool holds(FileSystem& fs, const std::string& path, const std::string& holder) {
    try {
        return read_file(fs, path) == holder;
    } catch (const Error&) {
        return false;
    }
}

int try_lock(FileSystem& fs, const std::string& run, int tries) {
    const std::string path = run + '/' + lock_name;
    const int file = retried([&] { return fs.open_update(path); });
    if (file < 0) throw file_error("cannot use run folder", run, -file);
    const int locked = retried([&] { return fs.lock(file); });
    if (locked < 0) {
        fs.close(file);
        if (locked == -EWOULDBLOCK) return locked;
        throw file_error("cannot lock run folder", run, -locked);
    }
    // Who holds it is told for the message, and to know the file again: failing to write it does no
    // harm.
    const std::string holder = std::to_string(::getpid());
    fs.truncate(file, 0);
    fs.write_at(file, std::as_bytes(std::span(holder)), 0);
    // Who held it before deletes it when done, perhaps just after it was opened here.
    if (tries == 0 || holds(fs, path, holder)) return file;
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
