#include "data/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <memory>
#include <new>
#include <span>
#include <unordered_map>

#include "core/shell_quoted.h"
#include "onecycle/error.h"
#include "onecycle/image.h"

namespace onecycle {

namespace {

constexpr std::uint64_t block = 512;  // all in an archive begins at a multiple of it

std::uint64_t rounded_up(std::uint64_t bytes) {
    return (bytes + block - 1) / block * block;
}

[[noreturn]] void refuse_shard(const std::string& path, const std::string& why, const std::string& fix) {
    throw Error(ErrorKind::data, "cannot use shard", path, why, fix);
}

std::string or_leave_out(const std::string& path) {
    return ", or leave it out: --exclude " + shell_quoted(path.substr(path.rfind('/') + 1));
}

// "a.tar" of "a.tar.gz" and "a.tgz".
std::string unpacked_name(const std::string& path) {
    const std::size_t dot = path.rfind('.');
    const std::string stem = path.substr(0, dot == std::string::npos || dot == 0 ? path.size() : dot);
    if (stem.ends_with(".tar")) return stem;
    return path.ends_with(".tar") ? stem + "-unpacked.tar" : stem + ".tar";
}

// libarchive turns the UTF-8 of a pax name into the signs of the thread's locale: here they stay.
class Utf8Here {
  public:
    Utf8Here() {
        // Made once: that reads and maps files, which would cost more than the member that is read.
        static const locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
        if (utf8) before_ = uselocale(utf8);
    }
    ~Utf8Here() {
        if (before_) uselocale(before_);
    }
    Utf8Here(const Utf8Here&) = delete;
    Utf8Here& operator=(const Utf8Here&) = delete;

  private:
    locale_t before_{};
};

std::string without_start(std::string path) {
    std::size_t begin = 0;
    for (;;) {
        if (path.compare(begin, 1, "/") == 0)
            ++begin;
        else if (path.compare(begin, 2, "./") == 0)
            begin += 2;
        else
            break;
    }
    path.erase(0, begin);
    return path;
}

}  // namespace

struct TarReader::Impl {
    // Both are given back also where the constructor refuses the archive: the reader first.
    struct File {
        int number = -1;
        ~File() {
            if (number >= 0) ::close(number);
        }
    };
    struct FreeReader {
        void operator()(archive* reader) const { archive_read_free(reader); }
    };

    std::string path;
    File file;
    std::unique_ptr<archive, FreeReader> reader;
    struct stat status {};
    std::uint64_t end = 0;  // behind the last member's contents
    std::uint64_t passed_over = 0;
    // Where the regular files lie that hard links may lead to; filled when the first link comes.
    std::unordered_map<std::string, TarMember> targets;
    bool links_followed = true;

    explicit Impl(const std::string& name) : path(name) {
        file.number = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (file.number < 0 || ::fstat(file.number, &status) != 0)
            throw file_error("cannot read shard", path, errno);
        if (!S_ISREG(status.st_mode))
            refuse_shard(path, "it is no regular file", "give a tar archive" + or_leave_out(path));
        const std::string head = read(0, 8);
        if (const Compression compression = compression_of(head); !compression.name.empty())
            // Removed when it is unpacked: in a folder of shards it would be found again.
            refuse_shard(path, "it is compressed (" + std::string(compression.name) + ")",
                         "unpack it, for images are read by position: " + std::string(compression.command) +
                             " < " + shell_quoted(path) + " > " + shell_quoted(unpacked_name(path)) +
                             " && rm " + shell_quoted(path));
        reader.reset(archive_read_new());
        if (!reader) throw std::bad_alloc();
        archive_read_support_filter_none(reader.get());
        archive_read_support_format_tar(reader.get());
        check(archive_read_open_fd(reader.get(), file.number, std::size_t{64} << 10));
    }

    std::string read(std::uint64_t offset, std::size_t most) const {
        std::string text(most, '\0');
        std::size_t have = 0;
        while (have < most) {
            const ssize_t got =
                ::pread(file.number, text.data() + have, most - have, static_cast<off_t>(offset + have));
            if (got < 0 && errno == EINTR) continue;
            if (got < 0) throw file_error("cannot read shard", path, errno);
            if (got == 0) break;
            have += static_cast<std::size_t>(got);
        }
        text.resize(have);
        return text;
    }

    [[noreturn]] void refuse_cut() const {
        refuse_shard(path, "it is cut off: its end is missing", "copy or make it again" + or_leave_out(path));
    }

    void check(int result) const {
        if (result >= ARCHIVE_WARN && result != ARCHIVE_RETRY) return;
        const int code = archive_errno(reader.get());
        const char* text = archive_error_string(reader.get());
        const std::string why = text ? text : "damaged";
        if (code == EIO) throw file_error("cannot read shard", path, code);
        if (why.find("runcated") != std::string::npos) refuse_cut();
        if (end == 0 && why.find("nrecognized") != std::string::npos)
            refuse_shard(path, status.st_size == 0 ? "it is empty" : "it is no tar archive",
                         "give a tar archive" + or_leave_out(path));
        refuse_shard(path, "it is damaged: " + why, "copy or make it again" + or_leave_out(path));
    }

    void find_targets() {
        TarReader again(path);
        again.impl_->links_followed = false;
        for (TarMember member; again.next(member);) targets[member.path] = member;
    }

    // The zero block that ends every archive.
    void check_end() const {
        const std::string last = read(end, block);
        if (last.size() < block || last.find_first_not_of('\0') != std::string::npos) refuse_cut();
    }
};

TarReader::TarReader(const std::string& path) {
    const Utf8Here here;
    impl_ = std::make_unique<Impl>(path);
}

TarReader::~TarReader() = default;

bool TarReader::next(TarMember& member) {
    const Utf8Here here;
    Impl& in = *impl_;
    for (;;) {
        archive_entry* entry = nullptr;
        const int result = archive_read_next_header(in.reader.get(), &entry);
        if (result == ARCHIVE_EOF) {
            in.check_end();
            return false;
        }
        in.check(result);
        const auto header = static_cast<std::uint64_t>(archive_read_header_position(in.reader.get()));
        const auto offset = static_cast<std::uint64_t>(archive_filter_bytes(in.reader.get(), 0));
        const auto bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(archive_entry_size(entry), 0));
        const char* name = archive_entry_pathname(entry);
        const char* link = archive_entry_hardlink(entry);
        // An archive that was put together in another way than blocks in order is none to seek in.
        if (header < in.end || offset % block != 0)
            refuse_shard(in.path, "its members do not lie in order", "make it again with tar");
        if (!name) refuse_shard(in.path, "a member has no name", "make it again with tar");
        const bool whole = archive_entry_sparse_count(entry) == 0;
        const std::uint64_t stored = link ? 0 : bytes;
        if (whole &&
            stored > static_cast<std::uint64_t>(in.status.st_size) -
                         std::min<std::uint64_t>(offset, static_cast<std::uint64_t>(in.status.st_size)))
            in.refuse_cut();
        if (whole) in.end = rounded_up(offset + stored);
        member.path = without_start(name);
        if (link) {
            if (!in.links_followed) continue;
            if (in.targets.empty()) in.find_targets();
            const auto found = in.targets.find(without_start(link));
            if (found == in.targets.end() || found->second.offset > offset) {
                ++in.passed_over;
                continue;
            }
            member.offset = found->second.offset;
            member.bytes = found->second.bytes;
            return true;
        }
        const auto type = archive_entry_filetype(entry);
        if (type == AE_IFDIR) continue;
        if (type != AE_IFREG || !whole) {
            ++in.passed_over;
            continue;
        }
        member.offset = offset;
        member.bytes = bytes;
        return true;
    }
}

std::string TarReader::read(const TarMember& member, std::size_t most) const {
    return impl_->read(member.offset, static_cast<std::size_t>(std::min<std::uint64_t>(member.bytes, most)));
}

std::uint64_t TarReader::bytes() const {
    return static_cast<std::uint64_t>(impl_->status.st_size);
}
std::int64_t TarReader::changed() const {
    return std::int64_t{impl_->status.st_mtim.tv_sec} * 1'000'000'000 + impl_->status.st_mtim.tv_nsec;
}
std::uint64_t TarReader::passed_over() const {
    return impl_->passed_over;
}

struct TarWriter::Impl {
    struct FreeWriter {
        void operator()(archive* writer) const { archive_write_free(writer); }
    };

    AtomicFile& file;
    std::uint64_t written = 0;
    // What follows a failure, and what libarchive writes at its end where nobody has ended the
    // archive, is dropped: the file is thrown away. (Told of an error it would not free all.)
    bool dropped = false;
    std::exception_ptr failure{};
    std::unique_ptr<archive, FreeWriter> writer{archive_write_new()};

    explicit Impl(AtomicFile& to) : file(to) {
        if (!writer) throw std::bad_alloc();
        archive_write_set_format_gnutar(writer.get());  // names stay the bytes that they are
        archive_write_set_bytes_per_block(writer.get(), 1 << 18);
        archive_write_set_bytes_in_last_block(writer.get(), 1);
        const auto write = [](archive*, void* self, const void* bytes, std::size_t n) -> la_ssize_t {
            static_cast<Impl*>(self)->write({static_cast<const std::byte*>(bytes), n});
            return static_cast<la_ssize_t>(n);
        };
        check(archive_write_open(writer.get(), this, nullptr, write, nullptr));
    }
    ~Impl() { dropped = true; }

    void write(std::span<const std::byte> bytes) noexcept {
        if (dropped) return;
        try {
            file.write_at(bytes, written);
            written += bytes.size();
        } catch (...) {
            failure = std::current_exception();
            dropped = true;
        }
    }

    void check(la_ssize_t result) {
        if (failure) std::rethrow_exception(failure);
        if (result < ARCHIVE_OK)
            throw Error(ErrorKind::io, "cannot write shard", "libarchive",
                        archive_error_string(writer.get()) ? archive_error_string(writer.get()) : "it failed",
                        "choose another folder");
    }
};

TarWriter::TarWriter(AtomicFile& file) : impl_(std::make_unique<Impl>(file)) {}
TarWriter::~TarWriter() = default;

void TarWriter::add(const std::string& path, std::string_view contents) {
    const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(archive_entry_new(),
                                                                         archive_entry_free);
    if (!entry) throw std::bad_alloc();
    archive_entry_copy_pathname(entry.get(), path.c_str());
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(contents.size()));
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), 0644);
    archive_entry_set_mtime(entry.get(), 0, 0);
    impl_->check(archive_write_header(impl_->writer.get(), entry.get()));
    if (contents.empty()) return;
    const la_ssize_t written = archive_write_data(impl_->writer.get(), contents.data(), contents.size());
    impl_->check(written < 0 || static_cast<std::size_t>(written) == contents.size() ? written : -1);
}

void TarWriter::end() {
    impl_->check(archive_write_close(impl_->writer.get()));
}

void TarWriter::require() {}

std::uint64_t TarWriter::bytes() const {
    return impl_->written;
}

std::uint64_t TarWriter::room(const std::string& path, std::uint64_t contents) {
    // A name of more than 100 bytes is a member of its own in front.
    return block + rounded_up(contents) + (path.size() >= 100 ? block + rounded_up(path.size() + 1) : 0);
}

std::string shard_reader() {
    return "libarchive " ONECYCLE_ARCHIVE_VERSION;
}

}  // namespace onecycle
