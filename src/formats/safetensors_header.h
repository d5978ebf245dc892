// The JSON header of a safetensors file, as text and as a list of tensors.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "formats/malformed.h"
#include "onecycle/tensor_file.h"

namespace onecycle {

// Limits of what we read. The format itself allows a header of 100 MB; a ResNet's has 40 kB.
inline constexpr std::uint64_t max_header_bytes = 16 << 20;
inline constexpr std::size_t max_tensors = 100'000;
inline constexpr std::size_t max_rank = 8;
inline constexpr std::uint64_t max_offset = std::uint64_t{1} << 48;

// Metadata entries that carry the digests: of the header (with the digits of this very entry taken
// as zeros), and of each tensor's bytes, in file order, 32 digits each, without separators.
inline constexpr const char* header_digest_key = "onecycle.digest";
inline constexpr const char* tensor_digests_key = "onecycle.tensor_digests";

struct SafetensorsHeader {
    std::vector<TensorInfo> tensors;              // by offset; offsets from the start of the tensors' bytes
    std::map<std::string, std::string> metadata;  // with the digests
};

// Throws Malformed unless `json` is a header whose tensors fill exactly `data_bytes` bytes.
SafetensorsHeader parse_header(std::string_view json, std::uint64_t data_bytes);

// The header as compact JSON, padded with spaces to a multiple of 8 bytes. Throws Malformed for
// text that is not UTF-8.
std::string format_header(const SafetensorsHeader& header);

// Where the digits of the header's own digest stand in `json`; npos when it has none.
std::size_t find_header_digest(std::string_view json);

// The header's digest, for a header that has a place for it.
std::string digest_of_header(std::string json);

// The size of a tensor in bytes; throws Malformed when it is beyond max_offset.
std::uint64_t bytes_of(StoredType type, const std::vector<std::int64_t>& shape);

}  // namespace onecycle
