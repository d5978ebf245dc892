#include "formats/zip.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "formats/malformed.h"

namespace onecycle {
namespace {

constexpr std::uint64_t max_directory_bytes = 4 << 20;
constexpr std::uint64_t end_bytes = 22, end64_bytes = 56, locator64_bytes = 20;
constexpr std::uint64_t directory_bytes = 46, local_bytes = 30;
constexpr std::uint32_t in_extra = 0xFFFFFFFF;  // the number is in the zip64 field of the extra part
constexpr std::uint16_t encrypted = 1, descriptor_follows = 8, utf8_names = 0x800;

// Little-endian numbers, one after the other.
class Numbers {
  public:
    explicit Numbers(std::span<const std::byte> bytes) : bytes_(bytes) {}

    template <class Number>
    Number next() {
        Number value;
        std::memcpy(&value, take(sizeof value).data(), sizeof value);
        return value;
    }
    std::uint16_t u16() { return next<std::uint16_t>(); }
    std::uint32_t u32() { return next<std::uint32_t>(); }
    std::uint64_t u64() { return next<std::uint64_t>(); }

    std::span<const std::byte> take(std::size_t n) {
        if (n > bytes_.size()) refuse("its zip directory is cut short");
        const auto taken = bytes_.first(n);
        bytes_ = bytes_.subspan(n);
        return taken;
    }
    std::string text(std::size_t n) {
        const auto taken = take(n);
        return {reinterpret_cast<const char*>(taken.data()), n};
    }
    bool empty() const { return bytes_.empty(); }

  private:
    std::span<const std::byte> bytes_;
};

std::vector<std::byte> bytes_at(const InputFile& file, std::uint64_t offset, std::uint64_t n) {
    if (offset > file.size() || n > file.size() - offset) refuse("a part of it lies outside of the file");
    std::vector<std::byte> bytes(n);
    file.read_at(bytes, offset);
    return bytes;
}

struct Directory {
    std::uint64_t records, bytes, offset, end;  // `end`: where the end records begin
};

// The end record, which must be the last bytes of the file, and the zip64 one before it where there
// is one.
Directory find_directory(const InputFile& file) {
    if (file.size() < end_bytes) refuse("it is cut short");
    const std::uint64_t at = file.size() - end_bytes;
    const auto bytes = bytes_at(file, at, end_bytes);
    Numbers end(bytes);
    if (end.u32() != 0x06054B50)
        refuse("it is cut short, or has something behind the end of its zip directory");
    if (end.u16() != 0 || end.u16() != 0) refuse("it is a part of a zip file of several disks");
    const std::uint16_t here = end.u16(), records = end.u16();
    Directory directory{records, end.u32(), end.u32(), at};
    if (here != records) refuse("it is a part of a zip file of several disks");
    if (end.u16() != 0) refuse("its zip directory has a comment");

    if (at < locator64_bytes + end64_bytes) return directory;
    const auto locator_bytes = bytes_at(file, at - locator64_bytes, locator64_bytes);
    Numbers locator(locator_bytes);
    if (locator.u32() != 0x07064B50) return directory;
    const std::uint32_t disk = locator.u32();
    const std::uint64_t at64 = locator.u64();
    if (disk != 0 || locator.u32() != 1 || at64 != at - locator64_bytes - end64_bytes)
        refuse("its zip64 directory is not where it should be");
    const auto end64 = bytes_at(file, at64, end64_bytes);
    Numbers wide(end64);
    if (wide.u32() != 0x06064B50 || wide.u64() != end64_bytes - 12)
        refuse("its zip64 directory is malformed");
    wide.take(4);  // versions
    if (wide.u32() != 0 || wide.u32() != 0) refuse("it is a part of a zip file of several disks");
    const std::uint64_t here64 = wide.u64();
    const Directory found{wide.u64(), wide.u64(), wide.u64(), at64};
    const auto agrees = [](std::uint64_t narrow, std::uint64_t value, std::uint64_t most) {
        return narrow == value || narrow == most;
    };
    if (here64 != found.records || !agrees(directory.records, found.records, 0xFFFF) ||
        !agrees(directory.bytes, found.bytes, in_extra) || !agrees(directory.offset, found.offset, in_extra))
        refuse("its two zip directories differ");
    return found;
}

// The zip64 numbers of an extra part, in their order; empty when there are none.
std::vector<std::uint64_t> zip64_numbers(std::span<const std::byte> extra) {
    std::vector<std::uint64_t> numbers;
    for (Numbers fields(extra); !fields.empty();) {
        const std::uint16_t id = fields.u16();
        Numbers field(fields.take(fields.u16()));
        if (id != 1) continue;
        if (!numbers.empty()) refuse("a record has two zip64 fields");
        while (!field.empty()) numbers.push_back(field.u64());
    }
    return numbers;
}

// Replaces those that say so by the next of the zip64 numbers.
void widen(std::span<const std::byte> extra, std::initializer_list<std::uint64_t*> values) {
    const std::vector<std::uint64_t> wide = zip64_numbers(extra);
    std::size_t next = 0;
    for (std::uint64_t* value : values)
        if (*value == in_extra) {
            if (next == wide.size()) refuse("a record lacks its zip64 field");
            *value = wide[next++];
        }
}

struct Entry {
    ZipRecord record;
    std::uint16_t flags, method;
    std::uint64_t header;  // where its own header stands
    std::uint64_t end;     // behind its bytes
};

Entry read_entry(Numbers& directory) {
    Entry entry{};
    if (directory.u32() != 0x02014B50) refuse("its zip directory is malformed");
    directory.take(4);  // versions
    entry.flags = directory.u16();
    const std::uint16_t method = directory.u16();
    directory.take(4);  // time
    entry.record.crc = directory.u32();
    std::uint64_t stored = directory.u32(), bytes = directory.u32();
    const std::uint16_t name = directory.u16(), extra = directory.u16(), comment = directory.u16();
    const std::uint16_t disk = directory.u16();
    directory.take(6);  // attributes
    entry.header = directory.u32();
    entry.record.name = directory.text(name);
    widen(directory.take(extra), {&bytes, &stored, &entry.header});
    directory.take(comment);
    const std::string quoted = "its record '" + entry.record.name + "' ";
    if (entry.flags & encrypted) refuse(quoted + "is encrypted");
    if (entry.flags & ~(descriptor_follows | utf8_names)) refuse(quoted + "has unknown flags");
    entry.method = method;
    entry.record.compressed = method != 0;
    if (disk != 0) refuse(quoted + "is on another disk");
    if (method == 0 && stored != bytes) refuse(quoted + "has two sizes");
    if (comment != 0) refuse(quoted + "has a comment");
    entry.record.bytes = stored;
    return entry;
}

// The record's own header must say the same, or leave it to the descriptor behind the bytes.
void check_own_header(const InputFile& file, Entry& entry, std::uint64_t limit) {
    const std::string quoted = "its record '" + entry.record.name + "' ";
    const auto fixed = bytes_at(file, entry.header, local_bytes);
    Numbers header(fixed);
    if (header.u32() != 0x04034B50) refuse(quoted + "has no header");
    header.take(2);  // version
    if (header.u16() != entry.flags || header.u16() != entry.method)
        refuse(quoted + "has two headers that differ");
    header.take(4);  // time
    const std::uint32_t crc = header.u32();
    std::uint64_t stored = header.u32(), bytes = header.u32();
    const std::uint16_t name = header.u16(), extra = header.u16();
    const auto rest = bytes_at(file, entry.header + local_bytes, std::uint64_t{name} + extra);
    Numbers own(rest);
    if (own.text(name) != entry.record.name) refuse(quoted + "has another name in its own header");
    const auto extra_bytes = own.take(extra);
    const bool later = (entry.flags & descriptor_follows) && crc == 0 && stored == 0 && bytes == 0;
    if (!later) {
        widen(extra_bytes, {&bytes, &stored});
        if (crc != entry.record.crc || stored != entry.record.bytes || (entry.method == 0 && stored != bytes))
            refuse(quoted + "has two headers that differ");
    }
    entry.record.offset = entry.header + local_bytes + rest.size();
    if (entry.record.offset > limit || entry.record.bytes > limit - entry.record.offset)
        refuse(quoted + "ends outside of the file");
    entry.end = entry.record.offset + entry.record.bytes;
}

}  // namespace

std::vector<ZipRecord> read_zip_directory(const InputFile& file) {
    const Directory directory = find_directory(file);
    if (directory.records > max_zip_records || directory.bytes > max_directory_bytes)
        refuse("its zip directory is too large");
    if (directory.offset > directory.end || directory.bytes != directory.end - directory.offset)
        refuse("its zip directory is not where it should be");
    const auto bytes = bytes_at(file, directory.offset, directory.bytes);
    Numbers numbers(bytes);
    std::vector<Entry> entries;
    std::set<std::string> names;
    for (std::uint64_t i = 0; i < directory.records; ++i) {
        entries.push_back(read_entry(numbers));
        if (!names.insert(entries.back().record.name).second)
            refuse("it has the record '" + entries.back().record.name + "' twice");
    }
    if (!numbers.empty()) refuse("its zip directory names fewer records than it has");
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return a.header < b.header; });
    std::vector<ZipRecord> records;
    std::uint64_t end = 0;
    for (Entry& entry : entries) {
        if (entry.header < end) refuse("its record '" + entry.record.name + "' overlaps another");
        check_own_header(file, entry, directory.offset);
        end = entry.end;
        records.push_back(std::move(entry.record));
    }
    return records;
}

}  // namespace onecycle
