#include <algorithm>
#include <charconv>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "store/run_folders.h"

namespace onecycle {
namespace {

constexpr const char* cannot_write_log = "cannot write log";

void check(int result, const std::string& path) {
    if (result < 0) throw file_error(cannot_write_log, path, -result);
}

// A run makes no link: one in a log's place is replaced. What else is there can be no log.
void make_way(FileSystem& fs, const std::string& path) {
    FileStatus status;
    if (retried([&] { return fs.entry(path, status); }) < 0 || status.type == FileStatus::Type::regular)
        return;
    if (status.type == FileStatus::Type::link) return check(retried([&] { return fs.unlink(path); }), path);
    throw Error(ErrorKind::io, cannot_write_log, path,
                status.type == FileStatus::Type::directory ? "it is a folder" : "it is no regular file",
                "move it away: a run goes on without the rows of its logs");
}

// The whole number in the row's first column; -1 for anything else.
std::int64_t number_of(std::string_view row) {
    std::int64_t value = -1;
    const auto result = std::from_chars(row.data(), row.data() + row.size(), value);
    return result.ec == std::errc() ? value : -1;
}

}  // namespace

struct CsvLog::Impl {
    FileSystem& fs;
    std::string path;
    int file = -1;
    std::uint64_t size = 0;  // bytes of whole lines
    std::string waiting;     // lines that could not be written yet

    Impl(FileSystem& fs_, const std::string& path_) : fs(fs_), path(path_) {}
    ~Impl() {
        if (file >= 0) fs.close(file);
    }

    // Gives the bytes to `take`, a part at a time with its place, until it answers false. A log may be
    // larger than the memory.
    template <class Take>
    void read_parts(Take take) const {
        const InputFile in(fs, path);
        std::string part;
        for (std::uint64_t at = 0; at < in.size(); at += part.size()) {
            part.resize(std::min<std::uint64_t>(in.size() - at, 1 << 16));
            in.read_at(std::as_writable_bytes(std::span(part)), at);
            if (!take(part, at)) return;
        }
    }

    void cut(std::uint64_t to) {
        check(retried([&] { return fs.truncate(file, to); }), path);
        size = to;
    }

    void append(const std::string& line) {
        waiting += line;
        try {
            write_fully(fs, file, path, std::as_bytes(std::span(waiting)), size);
        } catch (const Error&) {
            retried([&] { return fs.truncate(file, size); });  // a half row would spoil the next one
            throw;
        }
        size += waiting.size();
        waiting.clear();
    }
};

CsvLog::CsvLog(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

CsvLog RunFolders::csv_log(const std::string& path, const std::string& header) const {
    CsvLog log(std::make_unique<CsvLog::Impl>(fs_, path));
    CsvLog::Impl& impl = *log.impl_;
    make_way(fs_, path);
    impl.file = retried([&] { return fs_.open_update(path); });
    check(impl.file, path);
    check(retried([&] { return fs_.sync_directory(parent_directory(path)); }), path);
    std::uint64_t whole_lines = 0, size = 0;
    impl.read_parts([&](std::string_view part, std::uint64_t at) {
        size = at + part.size();
        if (const std::size_t end = part.rfind('\n'); end != part.npos) whole_lines = at + end + 1;
        return true;
    });
    impl.size = whole_lines;
    if (whole_lines != size) impl.cut(whole_lines);
    if (whole_lines == 0) {
        log.append(header);
        log.sync();  // a power loss may drop any part of later rows, which keep_below() finds, but not this line
    }
    return log;
}
CsvLog::~CsvLog() = default;
CsvLog::CsvLog(CsvLog&&) noexcept = default;

void CsvLog::append(const std::string& row) {
    impl_->append(row + '\n');
}

void CsvLog::catch_up() {
    impl_->append("");
}

std::int64_t CsvLog::keep_below(std::int64_t limit) {
    constexpr std::size_t longest_number = 20;
    std::int64_t rows = -1, last = -1;  // the header counts as none
    std::uint64_t row_at = 0, cut_at = impl_->size;
    std::string first;  // the row's first characters
    impl_->read_parts([&](std::string_view part, std::uint64_t at) {
        for (std::size_t i = 0; i < part.size(); ++i) {
            if (part[i] != '\n') {
                if (first.size() < longest_number) first += part[i];
                continue;
            }
            if (rows >= 0) {
                const std::int64_t number = number_of(first);
                if (number <= last || number >= limit) {
                    cut_at = row_at;
                    return false;
                }
                last = number;
            }
            ++rows;
            row_at = at + i + 1;
            first.clear();
        }
        return true;
    });
    if (cut_at < impl_->size) impl_->cut(cut_at);
    return rows;
}

void CsvLog::sync() {
    check(retried([&] { return impl_->fs.sync(impl_->file); }), impl_->path);
}

}  // namespace onecycle
