#include "store/look.h"

#include <cerrno>

#include "onecycle/error.h"

namespace onecycle {

bool is_there(FileSystem& fs, const std::string& path, FileStatus& status) {
    const int result = retried([&] { return fs.status(path, status); });
    if (result < 0 && result != -ENOENT && result != -ENOTDIR) throw file_error("cannot read", path, -result);
    return result == 0;
}

std::vector<std::string> names_in(FileSystem& fs, const std::string& directory) {
    std::vector<std::string> names;
    const int result = retried([&] { return fs.list(directory, names); });
    if (result < 0 && result != -ENOENT && result != -ENOTDIR)
        throw file_error("cannot read folder", directory, -result);
    return names;
}

}  // namespace onecycle
