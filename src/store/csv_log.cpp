#include <charconv>
#include <string_view>
#include <utility>

#include "store/run_folders.h"

namespace onecycle {
namespace {

void check(int result, const std::string& path) {
    if (result < 0) throw file_error("cannot write log", path, -result);
}

// Whether the row's first column is a whole number below `limit`.
bool is_below(std::string_view row, std::int64_t limit) {
    std::int64_t value = 0;
    const auto result = std::from_chars(row.data(), row.data() + row.size(), value);
    return result.ec == std::errc() && value < limit;
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

    std::string text() const { return read_file(fs, path, ErrorKind::io, std::uint64_t{1} << 40); }

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
    impl.file = retried([&] { return fs_.open_update(path); });
    check(impl.file, path);
    check(retried([&] { return fs_.sync_directory(parent_directory(path)); }), path);
    const std::string text = impl.text();
    const std::size_t whole_lines = text.rfind('\n') + 1;  // npos + 1 is 0
    impl.size = whole_lines;
    if (whole_lines != text.size()) impl.cut(whole_lines);
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
    const std::string text = impl_->text();
    std::size_t row = text.find('\n') + 1;  // after the header
    std::int64_t rows = 0;
    for (; row < text.size() && is_below(std::string_view(text).substr(row), limit); ++rows)
        row = text.find('\n', row) + 1;
    if (row < text.size()) impl_->cut(row);
    return rows;
}

void CsvLog::sync() {
    check(retried([&] { return impl_->fs.sync(impl_->file); }), impl_->path);
}

}  // namespace onecycle
