// Where libarchive is absent, shards are refused.
#include "data/tar.h"
#include "onecycle/error.h"
#include "onecycle/image.h"

namespace onecycle {

struct TarReader::Impl {};
struct TarWriter::Impl {};

TarReader::TarReader(const std::string& path) {
    throw Error(ErrorKind::data, "cannot use shard", path, "this build has no libarchive",
                "install libarchive-dev and build again, or unpack the archive");
}
TarReader::~TarReader() = default;
bool TarReader::next(TarMember&) {
    return false;
}
std::string TarReader::read(const TarMember&, std::size_t) const {
    return "";
}
std::uint64_t TarReader::bytes() const {
    return 0;
}
std::int64_t TarReader::changed() const {
    return 0;
}
std::uint64_t TarReader::passed_over() const {
    return 0;
}

void TarWriter::require() {
    throw Error(ErrorKind::data, "cannot write", "shards", "this build has no libarchive",
                "install libarchive-dev and build again");
}
TarWriter::TarWriter(AtomicFile&) {
    require();
}
TarWriter::~TarWriter() = default;
void TarWriter::add(const std::string&, std::string_view) {}
void TarWriter::end() {}
std::uint64_t TarWriter::bytes() const {
    return 0;
}
std::uint64_t TarWriter::room(const std::string&, std::uint64_t) {
    return 0;
}

std::string shard_reader() {
    return "";
}

}  // namespace onecycle
