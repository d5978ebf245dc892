// Tar archives: ustar, and the long names of GNU and pax. By libarchive; without it they are
// refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/file.h"

namespace onecycle {

// A regular file in an archive, also one that is stored as a hard link to one before it.
struct TarMember {
    std::string path{};                   // as it is written, but without "./" and "/" in front
    std::uint64_t offset = 0, bytes = 0;  // of its contents, which lie there in one piece
};

// Goes through an archive once. All throw Error(data) that names the archive when it is compressed,
// cut off, damaged or no tar archive, Error(io) when it cannot be read.
class TarReader {
  public:
    explicit TarReader(const std::string& path);
    ~TarReader();
    TarReader(const TarReader&) = delete;
    TarReader& operator=(const TarReader&) = delete;

    // False behind the last one.
    bool next(TarMember& member);
    // At most `most` bytes from the begin of the contents.
    std::string read(const TarMember& member, std::size_t most) const;

    std::uint64_t bytes() const;        // of the archive
    std::int64_t changed() const;       // nanoseconds since 1970
    std::uint64_t passed_over() const;  // symbolic links, devices, files with holes

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// Writes an archive whose bytes follow from its members alone: no time, no owner.
class TarWriter {
  public:
    explicit TarWriter(AtomicFile& file);
    ~TarWriter();
    TarWriter(const TarWriter&) = delete;
    TarWriter& operator=(const TarWriter&) = delete;

    void add(const std::string& path, std::string_view contents);
    void end();
    std::uint64_t bytes() const;  // written so far

    // Throws Error(data) in a build that cannot write archives.
    static void require();
    // What add() writes at most.
    static std::uint64_t room(const std::string& path, std::uint64_t contents);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// How a file with these first bytes is compressed ("gzip"), and the command that unpacks it; both
// empty: it is not.
struct Compression {
    std::string_view name{}, command{};
};
Compression compression_of(std::string_view head);

}  // namespace onecycle
