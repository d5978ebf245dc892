#include "store/run_place.h"

#include <algorithm>
#include <iterator>

#include "onecycle/error.h"
#include "store/checkpoints.h"
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

// The files of a run but for its logs and checkpoints.
constexpr std::string_view small_files[] = {"config.json",  bad_images_name, "latest",   "best",
                                            "training.svg", "find.csv",      "find.svg", "find.json",
                                            "sweep.svg",    "sweep.json"};
constexpr std::string_view last_of_test = "find.json";

// What a range test writes in a folder of its own before its last file, which is find.json or
// sweep.json.
bool is_of_test(std::string_view name) {
    return name == bad_images_name || name == "find.csv" || name == "find.svg" || name == "sweep.svg";
}

// The first file of a run tells by itself what it is.
bool is_beginning_of_config(FileSystem& fs, const std::string& path, const std::string& name) {
    if (!is_beginning(name) || !name.starts_with("config.json.")) return false;
    const InputFile file(fs, path + '/' + name);
    std::byte first{'{'};
    if (file.size() > 0) file.read_at(std::span(&first, 1), 0);
    return first == std::byte{'{'};
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

bool is_probe(std::string_view name) {
    constexpr std::string_view beginning = ".onecycle-";
    return name.starts_with(beginning) && name.size() > beginning.size() &&
           name.find_first_not_of("0123456789-", beginning.size()) == name.npos;
}

bool is_beginning(std::string_view name) {
    const std::string_view target = target_of_temporary(name);
    return std::ranges::find(small_files, target) != std::end(small_files) || step_of(target);
}

bool holds_only_a_start(FileSystem& fs, const std::string& path, const std::vector<std::string>& names) try {
    const bool locked =
        std::ranges::find(names, lock_name) != names.end() && is_lock(fs, path + '/' + lock_name);
    const auto is_left = [&](const std::string& name) {
        FileStatus status;
        const int result = retried([&] { return fs.entry(path + '/' + name, status); });
        if (result < 0) throw file_error("cannot read", path + '/' + name, -result);
        if (status.type == FileStatus::Type::directory)
            return locked && name.find('=') != name.npos &&
                   std::ranges::all_of(names_in(fs, path + '/' + name), [](const std::string& inner) {
                       return is_beginning(inner) || is_of_test(inner) || inner == last_of_test;
                   });
        if (status.type != FileStatus::Type::regular) return false;
        if (is_probe(name)) return true;
        if (is_beginning_of_config(fs, path, name)) return true;
        return locked && (name == lock_name || is_beginning(name) || is_of_test(name));
    };
    return std::ranges::all_of(names, is_left);
} catch (const Error&) {
    return false;
}

std::string in_megabytes(std::uint64_t bytes) {
    return std::to_string((bytes + 999'999) / 1'000'000) + " MB";
}

void RunFolders::check_out(const std::string& path) const {
    FileStatus status;
    if (is_there(fs_, path, status)) {
        if (status.type == FileStatus::Type::directory && !is_unused(path))
            refuse_out(path, "it is not empty");
    } else if (retried([&] { return fs_.entry(path, status); }) == 0) {
        refuse_out(path, "it is a link that leads nowhere");
    }
    check_parent(path);
    // Nothing is there under this name, and nothing could be.
    const std::string longest = checkpoint_path(path, 999'999'999) + ".99" + std::string(temporary_ending);
    if (retried([&] { return fs_.status(longest, status); }) == -ENAMETOOLONG)
        throw file_error("cannot use --out", path, ENAMETOOLONG);
}

bool RunFolders::is_unused(const std::string& path) const {
    return holds_only_a_start(fs_, path, names_in(fs_, path));
}

bool RunFolders::was_left(const std::string& path) const {
    FileStatus status;
    std::vector<std::string> names;
    return retried([&] { return fs_.entry(path, status); }) == 0 &&
           status.type == FileStatus::Type::directory &&
           retried([&] { return fs_.list(path, names); }) == 0 && holds_only_a_start(fs_, path, names) &&
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
