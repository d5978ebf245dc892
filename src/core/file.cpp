#include "core/file.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <system_error>
#include <utility>

namespace onecycle {
namespace {

// The system's words, begun with a small letter.
std::string why_text(int code) {
    switch (code) {
        case ENOSPC:
            return "no space left on the device";
        case EROFS:
            return "the file system is read-only";
        case ELOOP:
            return "it is a link, which is not followed here, or links that lead in a circle";
        default:
            break;
    }
    std::string text = std::generic_category().message(code);
    if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
    return text;
}

std::string fix_text(int code) {
    switch (code) {
        case ENOSPC:
            return "free some space or choose a place on another disk";
        case EDQUOT:
            return "remove files of yours or ask for a larger quota";
        case EROFS:
            return "choose a place that can be written";
        case EACCES:
        case EPERM:
            return "check who owns it and its permissions";
        case ENOENT:
            return "check the path";
        case EMFILE:
        case ENFILE:
            return "raise the limit of open files (ulimit -n)";
        case ELOOP:
            return "put the file that is meant in the link's place";
        case ENAMETOOLONG:
            return "choose a shorter path";
        case EFBIG:
            return "raise the limit of file sizes (ulimit -f), or choose a disk that takes larger files";
        case EIO:
            return "check the disk and the cable or network behind it";
        default:
            return "check the path and what it stands on";
    }
}

// Of the file that is written in the place of `path`.
std::string temporary_name(const std::string& path, int attempt) {
    const std::string number = attempt > 0 ? "." + std::to_string(attempt) : "";
    return path + number + std::string(temporary_ending);
}

constexpr int most_attempts = 100;

constexpr const char* cannot_read = "cannot read file";
constexpr const char* cannot_write = "cannot write file";

// Reads until `out` is full or the file ends; returns the number of bytes.
std::size_t read_some(FileSystem& fs, int file, const std::string& path, std::span<std::byte> out,
                      std::uint64_t offset) {
    std::size_t done = 0;
    while (done < out.size()) {
        const std::int64_t got = retried([&] { return fs.read_at(file, out.subspan(done), offset + done); });
        if (got < 0) throw file_error(cannot_read, path, static_cast<int>(-got));
        if (got == 0) break;
        done += static_cast<std::size_t>(got);
    }
    return done;
}

}  // namespace

Error file_error(const std::string& what, const std::string& where, int code, ErrorKind kind) {
    return Error(kind, what, where, why_text(code), fix_text(code));
}

void write_fully(FileSystem& fs, int file, const std::string& path, std::span<const std::byte> bytes,
                 std::uint64_t offset) {
    while (!bytes.empty()) {
        const std::int64_t written = retried([&] { return fs.write_at(file, bytes, offset); });
        if (written <= 0)
            throw file_error(cannot_write, path, written < 0 ? static_cast<int>(-written) : EIO);
        bytes = bytes.subspan(static_cast<std::size_t>(written));
        offset += static_cast<std::uint64_t>(written);
    }
}

InputFile::InputFile(FileSystem& fs, const std::string& path, ErrorKind kind) : fs_(&fs), path_(path) {
    const int file = retried([&] { return fs.open_read(path); });
    if (file < 0) {
        const bool missing = file == -ENOENT || file == -ENOTDIR;
        throw file_error(cannot_read, path, -file, missing ? kind : ErrorKind::io);
    }
    FileStatus status;
    const int result = retried([&] { return fs.status(file, status); });
    if (result < 0 || status.type != FileStatus::Type::regular) {
        fs.close(file);
        if (result < 0) throw file_error(cannot_read, path, -result);
        throw Error(
            kind, cannot_read, path,
            status.type == FileStatus::Type::directory ? "it is a folder" : "it is not a regular file",
            "give the path of a file");
    }
    file_ = file;
    size_ = status.size;
}

InputFile::~InputFile() {
    if (file_ >= 0) fs_->close(file_);
}

InputFile::InputFile(InputFile&& other) noexcept
    : fs_(other.fs_),
      path_(std::move(other.path_)),
      size_(other.size_),
      file_(std::exchange(other.file_, -1)) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
    std::swap(fs_, other.fs_);
    std::swap(path_, other.path_);
    std::swap(size_, other.size_);
    std::swap(file_, other.file_);
    return *this;
}

void InputFile::read_at(std::span<std::byte> out, std::uint64_t offset) const {
    if (read_some(*fs_, file_, path_, out, offset) != out.size()) {
        throw Error(ErrorKind::io, cannot_read, path_, "it became shorter while it was read",
                    "let no other program change it");
    }
}

std::string_view target_of_temporary(std::string_view name) {
    if (!name.ends_with(temporary_ending)) return {};
    name.remove_suffix(temporary_ending.size());
    const std::size_t dot = name.rfind('.');
    const bool numbered = dot != name.npos && dot + 1 < name.size() &&
                          name.find_first_not_of("0123456789", dot + 1) == name.npos;
    return numbered ? name.substr(0, dot) : name;
}

AtomicFile::AtomicFile(FileSystem& fs, const std::string& path) : fs_(fs), path_(path) {
    // A name in use belongs to a process that was killed, or to one that writes the same file now.
    for (int attempt = 0; attempt < most_attempts; ++attempt) {
        temporary_ = temporary_name(path, attempt);
        file_ = retried([&] { return fs.create_exclusive(temporary_); });
        if (file_ != -EEXIST) break;
    }
    if (file_ < 0) throw file_error(cannot_write, path, -file_);
    there_ = true;
}

AtomicFile::~AtomicFile() {
    if (file_ >= 0) fs_.close(file_);
    if (there_) retried([&] { return fs_.unlink(temporary_); });
}

void AtomicFile::write_at(std::span<const std::byte> bytes, std::uint64_t offset) {
    write_fully(fs_, file_, path_, bytes, offset);
}

void AtomicFile::commit() {
    const auto check = [&](int result) {
        if (result < 0) throw file_error(cannot_write, path_, -result);
    };
    check(retried([&] { return fs_.sync(file_); }));
    // An interrupted close has closed the file, and its bytes are on the disk by now.
    const int closed = fs_.close(std::exchange(file_, -1));
    check(closed == -EINTR ? 0 : closed);
    check(retried([&] { return fs_.rename(temporary_, path_); }));
    there_ = false;
    check(retried([&] { return fs_.sync_directory(parent_directory(path_)); }));
}

std::string read_file(FileSystem& fs, const std::string& path, ErrorKind kind, std::uint64_t limit) {
    const InputFile file(fs, path, kind);
    if (file.size() > limit)
        throw Error(kind, cannot_read, path, "it is too large for what it should be", "check the path");
    std::string text(file.size(), '\0');
    file.read_at(std::as_writable_bytes(std::span(text)), 0);
    return text;
}

void write_file_atomically(FileSystem& fs, const std::string& path, std::string_view text) {
    AtomicFile file(fs, path);
    file.write_at(std::as_bytes(std::span(text)), 0);
    file.commit();
}

void check_output(FileSystem& fs, const std::string& path, const OutputRule& rule) {
    const auto refuse = [&](const char* why, const char* fix) {
        throw Error(ErrorKind::io, cannot_write, path, why, fix);
    };
    const std::string folder = parent_directory(path);
    if (const int failed = retried([&] { return fs.writable(folder); }))
        throw file_error(cannot_write, path, -failed);
    FileStatus there;
    int result = 0;
    for (int attempt = 0; result == 0 && attempt < most_attempts; ++attempt)
        result = retried([&] { return fs.entry(temporary_name(path, attempt), there); });
    if (result != -ENOENT) throw file_error(cannot_write, path, result == 0 ? EEXIST : -result);
    result = retried([&] { return fs.entry(path, there); });
    if (result == -ENOENT) return;
    if (result < 0) throw file_error(cannot_write, path, -result);
    if (there.type == FileStatus::Type::directory) refuse("it is a folder", "give the path of a file");
    if (there.type == FileStatus::Type::link) refuse("it is a link", "give the path that it leads to");
    if (there.type != FileStatus::Type::regular) refuse("it is no regular file", "give another name");
    if (rule.force) return;
    if (!rule.own_mark.empty()) {
        const InputFile file(fs, path);
        std::string begin(std::min<std::uint64_t>(file.size(), 1000), '\0');
        file.read_at(std::as_writable_bytes(std::span(begin)), 0);
        if (begin.find(rule.own_mark) != std::string::npos) return;
    }
    refuse(rule.own_mark.empty() ? "the file exists" : "the file exists, and onecycle did not make it",
           "give another name, or --force to replace it");
}

void write_output(FileSystem& fs, const std::string& path, std::string_view text, const OutputRule& rule) {
    check_output(fs, path, rule);
    write_file_atomically(fs, path, text);
}

void make_directories(FileSystem& fs, const std::string& path) {
    const auto fail = [&](int code) -> Error { return file_error("cannot make folder", path, code); };
    FileStatus status;
    const int there = retried([&] { return fs.status(path, status); });
    if (there == 0 && status.type == FileStatus::Type::directory) return;
    if (there != -ENOENT) throw fail(there == 0 ? ENOTDIR : -there);
    const std::string parent = parent_directory(path);
    if (parent != path) make_directories(fs, parent);
    const int made = retried([&] { return fs.mkdir(path); });
    if (made < 0 && made != -EEXIST) throw fail(-made);
    const int synced = retried([&] { return fs.sync_directory(parent); });
    if (synced < 0) throw fail(-synced);
}

std::string parent_directory(const std::string& path) {
    const std::size_t end = path.find_last_not_of('/');
    if (end == std::string::npos) return path.empty() ? "." : "/";
    const std::size_t slash = path.find_last_of('/', end);
    if (slash == std::string::npos) return ".";
    const std::size_t last = path.find_last_not_of('/', slash);
    return last == std::string::npos ? "/" : path.substr(0, last + 1);
}

std::string user_cache_folder() {
    const char* cache = std::getenv("XDG_CACHE_HOME");
    if (cache != nullptr && *cache != '\0') return std::string(cache) + "/onecycle";
    const char* home = std::getenv("HOME");
    return home != nullptr && *home != '\0' ? std::string(home) + "/.cache/onecycle" : "";
}

}  // namespace onecycle
