// The directory of a zip file (PKWARE APPNOTE 6.3), as strictly as files of torch.save allow: none
// encrypted, one disk, no comment, nothing overlapping, and the two headers of a record agree. A
// file that two readers could take for different things is refused.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/file.h"

namespace onecycle {

struct ZipRecord {
    std::string name;
    std::uint64_t offset = 0;  // of its bytes, from the start of the file
    std::uint64_t bytes = 0;
    std::uint32_t crc = 0;    // CRC-32 of the bytes; 0: whoever wrote the file did not compute it
    bool compressed = false;  // as the code of a TorchScript program is; nothing reads such a record
};

inline constexpr std::size_t max_zip_records = 10'000;

// In the order of their bytes. Throws Malformed, Error(io).
std::vector<ZipRecord> read_zip_directory(const InputFile& file);

}  // namespace onecycle
