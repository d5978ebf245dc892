// The file seam: what a run writes and reads back passes through `FileSystem`, one virtual function
// a system call, so that tests can let the n-th call fail or the machine crash between any two.
// Images and the scan of their folders, which are only read, do not.
// Above it stand the checked forms that the rest of the code uses: they retry interrupted calls,
// finish short reads and writes, and throw Error.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "onecycle/error.h"

namespace onecycle {

// Equal where two names, or a name and a descriptor, are of the same file.
struct FileId {
    std::uint64_t device = 0, number = 0;
    bool operator==(const FileId&) const = default;
};

struct FileStatus {
    enum class Type { regular, directory, link, other } type = Type::other;
    std::uint64_t size = 0;  // bytes
    FileId id{};
};

// The raw calls. Each returns its result (0 where there is none to return) or -errno, as the kernel
// does.
class FileSystem {
  public:
    virtual ~FileSystem() = default;

    virtual int open_read(const std::string& path) = 0;         // a descriptor
    virtual int open_update(const std::string& path) = 0;       // read and write; created when missing
    virtual int create_exclusive(const std::string& path) = 0;  // -EEXIST when there; follows no link
    virtual std::int64_t read_at(int file, std::span<std::byte> out, std::uint64_t offset) = 0;
    virtual std::int64_t write_at(int file, std::span<const std::byte> bytes, std::uint64_t offset) = 0;
    virtual int truncate(int file, std::uint64_t size) = 0;
    virtual int sync(int file) = 0;
    virtual int lock(int file) = 0;  // exclusive, without waiting: -EWOULDBLOCK when another holds it
    virtual int close(int file) = 0;
    virtual int status(int file, FileStatus& out) = 0;

    virtual int status(const std::string& path, FileStatus& out) = 0;  // follows links
    virtual int entry(const std::string& path, FileStatus& out) = 0;   // as status(), of a link itself
    virtual int rename(const std::string& from, const std::string& to) = 0;
    virtual int unlink(const std::string& path) = 0;
    virtual int mkdir(const std::string& path) = 0;
    virtual int rmdir(const std::string& path) = 0;  // -ENOTEMPTY when something is in it
    virtual int list(const std::string& directory, std::vector<std::string>& names) = 0;  // any order
    virtual int sync_directory(const std::string& path) = 0;
    virtual int writable(const std::string& path) = 0;  // 0: entries may be made in it
    virtual int free_space(const std::string& path, std::uint64_t& bytes) = 0;  // for an ordinary user
};

// The machine's own file system.
FileSystem& posix_file_system();

// The Error for a failed call: why in words from `code` (an errno), and the fix that belongs to it.
Error file_error(const std::string& what, const std::string& where, int code, ErrorKind kind = ErrorKind::io);

// A regular file open for reading. Its size is taken once, at the opening.
class InputFile {
  public:
    // Throws Error(kind) when it is not there or no regular file, Error(io) when it cannot be read.
    InputFile(FileSystem& fs, const std::string& path, ErrorKind kind = ErrorKind::io);
    ~InputFile();
    InputFile(InputFile&& other) noexcept;
    InputFile& operator=(InputFile&& other) noexcept;

    const std::string& path() const noexcept { return path_; }
    std::uint64_t size() const noexcept { return size_; }

    // Fills `out` from `offset`. Throws Error(io), also when the file ends before.
    void read_at(std::span<std::byte> out, std::uint64_t offset) const;

  private:
    FileSystem* fs_;
    std::string path_;
    std::uint64_t size_ = 0;
    int file_ = -1;
};

// A file that appears under its name complete and durable, or not at all: written to a temporary
// file beside it, synced, renamed over it, then the directory is synced. Any failure removes the
// temporary.
class AtomicFile {
  public:
    AtomicFile(FileSystem& fs, const std::string& path);
    ~AtomicFile();
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;

    void write_at(std::span<const std::byte> bytes, std::uint64_t offset);
    void commit();

  private:
    FileSystem& fs_;
    std::string path_, temporary_;
    int file_ = -1;
    bool there_ = false;  // the temporary exists
};

// The ending of a temporary file's name. A file with it is garbage of a process that was killed.
inline constexpr std::string_view temporary_ending = ".tmp";

// The name of the file that an AtomicFile's temporary stands for, without the number of an attempt;
// empty for any other name.
std::string_view target_of_temporary(std::string_view name);

// Writes all of `bytes`. Throws Error(io).
void write_fully(FileSystem& fs, int file, const std::string& path, std::span<const std::byte> bytes,
                 std::uint64_t offset);

// A whole small file as text. Throws as InputFile, and Error(kind) when it is larger than `limit`
// bytes.
std::string read_file(FileSystem& fs, const std::string& path, ErrorKind kind = ErrorKind::io,
                      std::uint64_t limit = 64 << 20);

void write_file_atomically(FileSystem& fs, const std::string& path, std::string_view text);

// What may be replaced where a user names the file to write.
struct OutputRule {
    bool force = false;           // any regular file
    std::string_view own_mark{};  // a regular file that has this among its first 1000 bytes
};

// Whether `path` may be written: nothing is there, or what `rule` lets go; and the folder takes new
// files, also of the temporary's longer name. Throws Error(io) otherwise; folders, devices, pipes
// and links are never replaced.
void check_output(FileSystem& fs, const std::string& path, const OutputRule& rule);
// write_file_atomically() after check_output().
void write_output(FileSystem& fs, const std::string& path, std::string_view text, const OutputRule& rule);

// Makes a directory and its parents, durably; one that is there is fine. Throws Error(io).
void make_directories(FileSystem& fs, const std::string& path);

// The directory that holds `path`: "." for a bare name.
std::string parent_directory(const std::string& path);

// Where this user's programs keep what they can make again: $XDG_CACHE_HOME/onecycle, else
// ~/.cache/onecycle; empty when neither variable is set.
std::string user_cache_folder();

// Calls again while a signal interrupts. Bounded, so that a broken file system cannot hang the
// program.
template <class Call>
auto retried(Call call) {
    for (int tries = 0;; ++tries) {
        const auto result = call();
        if (result != -EINTR || tries == 100) return result;
    }
}

}  // namespace onecycle
