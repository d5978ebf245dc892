#include "store/run_place.h"

#include <algorithm>

#include "onecycle/error.h"
#include "store/look.h"
#include "store/run_folders.h"
#include "store/run_lock.h"

namespace onecycle {
namespace {

// The innermost of `path` and the folders above it that is there.
std::string innermost(FileSystem& fs, const std::string& path) {
    FileStatus status;
    std::string existing = path;
    while (!is_there(fs, existing, status) && parent_directory(existing) != existing)
        existing = parent_directory(existing);
    return existing;
}

[[noreturn]] void refuse_out(const std::string& path, const std::string& why) {
    throw Error(ErrorKind::io, "cannot use --out", path, why, "choose a folder that is new or empty");
}

}  // namespace

std::vector<std::string> missing_folders(FileSystem& fs, const std::string& path) {
    std::vector<std::string> missing;
    FileStatus status;
    for (std::string at = path; !is_there(fs, at, status) && parent_directory(at) != at;
         at = parent_directory(at))
        missing.push_back(at);
    return missing;
}

bool is_leftover(std::string_view name) {
    if (name == lock_name) return true;
    const auto all_of = [](std::string_view text, std::string_view allowed) {
        return !text.empty() && text.find_first_not_of(allowed) == text.npos;
    };
    constexpr std::string_view probe = ".onecycle-", digits = "0123456789";
    if (name.starts_with(probe)) return all_of(name.substr(probe.size()), "0123456789-");
    if (!name.ends_with(temporary_ending)) return false;
    name.remove_suffix(temporary_ending.size());
    for (const std::string_view first : {"config.json", "find.json", "find.csv", bad_images_name}) {
        if (!name.starts_with(first)) continue;
        const std::string_view rest = name.substr(first.size());  // empty, or the attempt's number
        if (rest.empty() || (rest[0] == '.' && all_of(rest.substr(1), digits))) return true;
    }
    return false;
}

std::string in_megabytes(std::uint64_t bytes) {
    return std::to_string((bytes + 999'999) / 1'000'000) + " MB";
}

void RunFolders::check_out(const std::string& path) const {
    FileStatus status;
    if (is_there(fs_, path, status) && status.type == FileStatus::Type::directory && !is_unused(path))
        refuse_out(path, "it is not empty");
    check_parent(path);
}

bool RunFolders::is_unused(const std::string& path) const {
    return std::ranges::all_of(names_in(fs_, path), is_leftover);
}

bool RunFolders::was_left(const std::string& path) const {
    FileStatus status;
    std::vector<std::string> names;
    return retried([&] { return fs_.entry(path, status); }) == 0 &&
           status.type == FileStatus::Type::directory &&
           retried([&] { return fs_.list(path, names); }) == 0 && std::ranges::all_of(names, is_leftover) &&
           retried([&] { return fs_.writable(path); }) == 0;
}

void RunFolders::check_parent(const std::string& path) const {
    const std::string existing = innermost(fs_, path);
    FileStatus status;
    if (is_there(fs_, existing, status) && status.type != FileStatus::Type::directory)
        refuse_out(path, "'" + existing + "' is a file");
    const int result = retried([&] { return fs_.writable(existing); });
    if (result < 0) throw file_error("cannot use --out", path, -result);
}

void RunFolders::check_space(const std::string& path, std::uint64_t bytes) const {
    std::uint64_t free = 0;
    const int result = retried([&] { return fs_.free_space(innermost(fs_, path), free); });
    if (result < 0) throw file_error("cannot use --out", path, -result);
    if (free < bytes)
        throw Error(ErrorKind::io, "cannot use --out", path,
                    "no space left on the device: checkpoints need " + in_megabytes(bytes) + ", " +
                        in_megabytes(free) + " are free",
                    "free some space or choose a folder on another disk");
}

}  // namespace onecycle
