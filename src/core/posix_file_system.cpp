// The file seam on the system calls of Linux.
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "core/file.h"

namespace onecycle {
namespace {

template <class Result>
Result or_errno(Result result) {
    return result < 0 ? -errno : result;
}

FileStatus to_status(const struct stat& from) {
    FileStatus status;
    status.size = static_cast<std::uint64_t>(from.st_size);
    status.id = {from.st_dev, from.st_ino};
    if (S_ISREG(from.st_mode)) status.type = FileStatus::Type::regular;
    if (S_ISLNK(from.st_mode)) status.type = FileStatus::Type::link;
    if (S_ISDIR(from.st_mode)) status.type = FileStatus::Type::directory;
    return status;
}

class PosixFileSystem final : public FileSystem {
  public:
    int open_read(const std::string& path) override {
        // Without O_NONBLOCK the opening of a pipe would wait for its writer.
        return or_errno(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    }
    int open_update(const std::string& path) override {
        return or_errno(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
    }
    int create_exclusive(const std::string& path) override {
        return or_errno(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666));
    }
    std::int64_t read_at(int file, std::span<std::byte> out, std::uint64_t offset) override {
        return or_errno<std::int64_t>(::pread(file, out.data(), out.size(), static_cast<off_t>(offset)));
    }
    std::int64_t write_at(int file, std::span<const std::byte> bytes, std::uint64_t offset) override {
        return or_errno<std::int64_t>(::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset)));
    }
    int truncate(int file, std::uint64_t size) override {
        return or_errno(::ftruncate(file, static_cast<off_t>(size)));
    }
    int sync(int file) override { return or_errno(::fsync(file)); }
    int lock(int file) override { return or_errno(::flock(file, LOCK_EX | LOCK_NB)); }
    int close(int file) override { return or_errno(::close(file)); }
    int status(int file, FileStatus& out) override {
        struct stat result;
        if (::fstat(file, &result) != 0) return -errno;
        out = to_status(result);
        return 0;
    }
    int status(const std::string& path, FileStatus& out) override {
        struct stat result;
        if (::stat(path.c_str(), &result) != 0) return -errno;
        out = to_status(result);
        return 0;
    }
    int entry(const std::string& path, FileStatus& out) override {
        struct stat result;
        if (::lstat(path.c_str(), &result) != 0) return -errno;
        out = to_status(result);
        return 0;
    }
    int rename(const std::string& from, const std::string& to) override {
        return or_errno(std::rename(from.c_str(), to.c_str()));
    }
    int unlink(const std::string& path) override { return or_errno(::unlink(path.c_str())); }
    int mkdir(const std::string& path) override { return or_errno(::mkdir(path.c_str(), 0777)); }
    int rmdir(const std::string& path) override { return or_errno(::rmdir(path.c_str())); }
    int list(const std::string& directory, std::vector<std::string>& names) override {
        DIR* handle = ::opendir(directory.c_str());
        if (handle == nullptr) return -errno;
        names.clear();
        errno = 0;
        while (const dirent* entry = ::readdir(handle)) {
            if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0) {
                names.emplace_back(entry->d_name);
            }
            errno = 0;
        }
        const int code = errno;
        ::closedir(handle);
        return -code;
    }
    int sync_directory(const std::string& path) override {
        const int directory = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory < 0) return -errno;
        const int code = ::fsync(directory) == 0 ? 0 : errno;
        ::close(directory);
        return code == EINVAL ? 0 : -code;  // a file system without it has nothing to sync
    }
    int writable(const std::string& path) override {
        // The dot lets a file in the folder's place answer that it is none.
        if (::access((path + "/.").c_str(), W_OK | X_OK) != 0) return -errno;
        // The superuser gets that answer for /proc and the like too: only a file that was made
        // proves it. One without a name leaves nothing when the process is killed here.
        const int nameless = ::open(path.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
        if (nameless >= 0) return or_errno(::close(nameless));
        // Not every file system has that. A name in use was left by a process of this number.
        const std::string probe = path + "/.onecycle-" + std::to_string(::getpid());
        for (int attempt = 0;; ++attempt) {
            const std::string name = attempt == 0 ? probe : probe + '-' + std::to_string(attempt);
            const int file = ::open(name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
            if (file < 0 && errno == EEXIST && attempt < 100) continue;
            if (file < 0) return -errno;
            ::close(file);
            return or_errno(::unlink(name.c_str()));
        }
    }
    int free_space(const std::string& path, std::uint64_t& bytes) override {
        struct statvfs result;
        if (::statvfs(path.c_str(), &result) != 0) return -errno;
        // Some network file systems do not say.
        bytes = result.f_blocks == 0 ? UINT64_MAX : std::uint64_t{result.f_bavail} * result.f_frsize;
        return 0;
    }
};

}  // namespace

FileSystem& posix_file_system() {
    static PosixFileSystem instance;
    return instance;
}

}  // namespace onecycle
